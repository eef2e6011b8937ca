//! Production's way to the same tables, and to a process that everybody plans.

use crate::{Result, TEMPLATE, connect, due, machine, session, want};
use bmdb_model::{MachineId, Provided, Provider, migration};
use bmdb_testkit::TestDb;

#[tokio::test]
async fn an_empty_database_is_brought_up_to_date_once() -> Result {
    let db = TestDb::empty().await?;
    racks::migrate(db.url()).await?;
    let versions = "SELECT version FROM __diesel_schema_migrations ORDER BY version";
    let after = db.rows(versions).await?;
    let ours = ["20261201000100", "20261201000200", "20261201000300"];
    assert!(after.ends_with(&ours.map(str::to_owned)), "{after:?}");

    racks::migrate(db.url()).await?;
    assert_eq!(db.rows(versions).await?, after);
    Ok(())
}

#[tokio::test]
async fn whoever_migrates_again_finds_the_process_and_does_not_plan_the_fleet_anew() -> Result {
    let db = TEMPLATE.database().await?;
    let known = "SELECT process, lane, workflow FROM process_def WHERE process LIKE 'Racks%'";
    let firmware = ["RacksFirmwareUpdate|shepherd|firmware_workflow"];
    assert_eq!(db.rows(known).await?, firmware);
    let versions = "SELECT machine_version FROM machines ORDER BY machine_id";
    let before = db.rows(versions).await?;
    racks::migrate(db.url()).await?;
    assert_eq!(db.rows(versions).await?, before);

    // What has strayed is put right, and then the fleet is planned by it.
    db.run_sql("UPDATE process_def SET workflow = NULL WHERE process LIKE 'Racks%'")
        .await?;
    racks::migrate(db.url()).await?;
    assert_eq!(db.rows(known).await?, firmware);
    assert_ne!(db.rows(versions).await?, before);
    Ok(())
}

#[tokio::test]
async fn machines_that_were_there_before_the_process_are_planned_when_it_is_defined() -> Result {
    let db = TestDb::new().await?;
    let session = session(db.url()).await?;
    let provided = Provided::new(Provider::EQUINIX, "1");
    let machine = session.transact(async |tx| {
        let machine = tx.create_machine().await?;
        tx.set_provided(machine, &provided).await?;
        Ok(machine)
    });
    let machine: MachineId = machine.await?;
    // Wishes that come with a migration, say, before bmdb knows of the process: not through `Tx`.
    migration::run_all_of(db.connect().await?, racks::MIGRATIONS).await?;
    db.run_sql("INSERT INTO firmware_wanted SELECT machine_id, '2.1' FROM machines")
        .await?;
    assert_eq!(due(&session).await?, []);
    racks::migrate(db.url()).await?;
    assert_eq!(due(&session).await?, [machine]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverted_migration_takes_its_process_along_and_harms_nobody() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    want(&session, &[only], "2.1").await?;

    migration::revert_last_of(db.connect().await?, racks::MIGRATIONS, 1).await?;
    // Others write tags as ever. What the process was due on is due no more from the machine's next
    // planning on, and that of all is brought about by hand.
    let written = session.transact(async |tx| tx.hold(only, "its rack is moved").await);
    written.await?;
    connect(db.url()).await?.replan().await?;
    let due_somewhere = "SELECT process, machine_id FROM work_item
                         WHERE eligible AND process LIKE 'Racks%'";
    assert_eq!(db.rows(due_somewhere).await?, [""; 0]);

    let released = session.transact(async |tx| tx.release_hold(only).await);
    released.await?;
    racks::migrate(db.url()).await?;
    want(&session, &[only], "2.1").await?;
    assert_eq!(due(&session).await?, [only]);
    Ok(())
}

// What comes of it where the definition goes after the view, or stays: why down.sql has its order.
#[tokio::test]
async fn a_definition_whose_view_is_gone_fails_whoever_writes_a_tag() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    db.run_sql("DROP VIEW firmware_workflow").await?;
    let written = session.transact(async |tx| tx.hold(only, "its rack is moved").await);
    let error = written.await.unwrap_err().to_string();
    assert!(error.contains("firmware_workflow"), "{error}");
    Ok(())
}
