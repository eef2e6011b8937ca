//! Migrating a production database, and defining the process there.

use crate::{Result, SITE, TEMPLATE, connect, due, machine, session, want};
use bmdb_model::{MachineId, Provided, migration};
use bmdb_testkit::TestDb;
use racks::commission::{self, Step};

#[tokio::test]
async fn an_empty_database_is_migrated_once() -> Result {
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
async fn migrating_again_does_not_replan_the_fleet() -> Result {
    let db = TEMPLATE.database().await?;
    let known = "SELECT process, lane, workflow FROM process_def WHERE process LIKE 'Racks%'";
    let firmware = ["RacksFirmwareUpdate|shepherd|firmware_workflow"];
    assert_eq!(db.rows(known).await?, firmware);
    let versions = "SELECT machine_version FROM machines ORDER BY machine_id";
    let before = db.rows(versions).await?;
    racks::migrate(db.url()).await?;
    assert_eq!(db.rows(versions).await?, before);

    // A changed definition is corrected, and then the fleet is replanned.
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
    let provided = Provided::new(SITE, "1");
    let machine = session.transact(async |tx| {
        let machine = tx.create_machine().await?;
        tx.set_provided(machine, &provided).await?;
        Ok(machine)
    });
    let machine: MachineId = machine.await?;
    // For example, a migration inserts wanted versions before the process is defined, without a `Tx`.
    migration::run_all_of(db.connect().await?, racks::MIGRATIONS).await?;
    db.run_sql("INSERT INTO firmware_wanted SELECT machine_id, '2.1' FROM machines")
        .await?;
    assert_eq!(due(&session).await?, []);
    racks::migrate(db.url()).await?;
    assert_eq!(due(&session).await?, [machine]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reverting_a_migration_removes_its_process_and_other_programs_still_work() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    want(&session, &[only], "2.1").await?;

    migration::revert_last_of(db.connect().await?, racks::MIGRATIONS, 1).await?;
    // Other programs can still write tags. A machine stays due for the process until it is planned
    // again, so replan all of them.
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

// The reason for the order in down.sql: without the view, the definition must not exist.
#[tokio::test]
async fn a_definition_whose_view_is_missing_stops_only_its_own_process() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    want(&session, &[only], "2.1").await?;
    db.run_sql("DROP VIEW firmware_workflow").await?;
    let answers = async |_| Ok(b"its key".to_vec());
    let step = commission::step(&session, "B2", answers).await?;
    assert_eq!(step, Step::Commissioned(only));
    // Its own machines stay as they were planned before.
    assert_eq!(due(&session).await?, [only]);
    let failures = db.rows("SELECT process, error FROM plan_failure").await?;
    let [failure] = &failures[..] else {
        panic!("{failures:?}");
    };
    assert!(
        failure.starts_with("RacksFirmwareUpdate|") && failure.contains("firmware_workflow"),
        "{failure}"
    );
    Ok(())
}
