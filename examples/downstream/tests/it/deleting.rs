//! Deleting a machine in bmdb: our foreign keys decide whether our rows are deleted or prevent it.

use crate::{Result, TEMPLATE, flashed, machine, session, want};
use bmdb_core::Claim;
use bmdb_model::ErrorKind;
use racks::commission::{Step, step};
use racks::firmware::FIRMWARE_UPDATE;

#[tokio::test]
async fn a_deleted_machine_leaves_its_rack() -> Result {
    let db = TEMPLATE.database().await?;
    let only = machine(&db, "B2", 1).await?;
    let session = session(db.url()).await?;
    let deleted = session.transact(async |tx| tx.delete_machine(only).await);
    deleted.await?;
    assert!(machine(&db, "B2", 1).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_commissioned_machine_cannot_be_deleted() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let answers = async |_| Ok(b"its key".to_vec());
    let Step::Commissioned(machine) = step(&session, "B2", answers).await? else {
        return Err("nothing was due".into());
    };
    let deleted = session.transact(async |tx| tx.delete_machine(machine).await);
    let error = deleted.await.unwrap_err();
    // The error names our constraint, and nothing was deleted.
    assert!(
        error.to_string().contains("commissioned_machine_id_fkey"),
        "{error}"
    );
    assert_eq!(
        error.kind(),
        Some(ErrorKind::Other),
        "another try would fail again"
    );
    let left = "SELECT count(*) FROM rack_units NATURAL JOIN machine_agent_started";
    assert_eq!(db.rows(left).await?, ["1"]);
    Ok(())
}

#[tokio::test]
async fn our_tags_are_deleted_with_the_machine() -> Result {
    let db = TEMPLATE.database().await?;
    let only = machine(&db, "B2", 1).await?;
    let session = session(db.url()).await?;
    want(&session, &[only], "2.1").await?;
    assert_eq!(flashed(&session, Ok(())).await?.len(), 1);
    want(&session, &[only], "2.2").await?;

    // Not while it is claimed: the worker that flashes it would not notice.
    let delete = async || {
        session
            .transact(async |tx| tx.delete_machine(only).await)
            .await
    };
    let claimed = session.claim(&Claim::of(&FIRMWARE_UPDATE)).await?;
    let error = delete().await.unwrap_err();
    assert!(
        error.to_string().contains("has work in progress"),
        "{error}"
    );
    for canceled in session.cancel_all(claimed).await {
        canceled?;
    }
    delete().await?;
    let tags = "SELECT machine_id FROM firmware_wanted
                UNION ALL SELECT machine_id FROM firmware_installed";
    assert_eq!(db.rows(tags).await?, [""; 0]);
    Ok(())
}
