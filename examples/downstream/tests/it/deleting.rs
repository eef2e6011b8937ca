//! What becomes of our rows when bmdb deletes a machine: our foreign keys say it.

use crate::{Result, TEMPLATE, machine, session};
use bmdb_model::Failure;
use racks::commission::{Step, step};

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
async fn a_machine_in_the_books_is_not_deleted() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let answers = async |_| Ok(b"its key".to_vec());
    let Step::Commissioned(machine) = step(&session, "B2", answers).await? else {
        return Err("nothing was due".into());
    };
    let deleted = session.transact(async |tx| tx.delete_machine(machine).await);
    let error = deleted.await.unwrap_err();
    // The server's words name our constraint. Nothing of the machine is gone.
    assert!(
        error.to_string().contains("commissioned_machine_id_fkey"),
        "{error}"
    );
    assert_eq!(
        error.failure(),
        Some(Failure::Other),
        "another try would fail again"
    );
    let left = "SELECT count(*) FROM rack_units NATURAL JOIN machine_agent_started";
    assert_eq!(db.rows(left).await?, ["1"]);
    Ok(())
}
