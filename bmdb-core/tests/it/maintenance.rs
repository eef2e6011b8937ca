//! Definitions, replanning and trimming while components continue to work.

use crate::scenario::{RETRY, Scenario, owner};
use bmdb_core::{Bmdb, Claim, Config, Retention, SessionOptions, TxError, TxOptions};
use bmdb_model::{ErrorKind, Lane, Process, ProcessDef, migration, process};
use bmdb_testkit::{Role, TestDb};

const WIPE: Process = Process::from_static("AcmeWipe");

/// A downstream workflow that wants every provided machine wiped.
const WORKFLOW: &str = "CREATE VIEW acme_workflow_wipe AS
    SELECT machine_id, provider, NULL::timestamptz AS ready_at FROM machine_provided";

async fn due(s: &Scenario, process: &Process) -> usize {
    s.session
        .claim(&Claim::of(process).limit(10))
        .await
        .unwrap()
        .len()
}

#[tokio::test]
async fn a_defined_process_is_due_at_once_and_no_longer_without_its_workflow() {
    let s = Scenario::new().await;
    s.provided("a").await;
    s.create_view(WORKFLOW).await;
    let wipe = ProcessDef::new(WIPE);
    let owner = s.owner().await;
    owner
        .define_process(&wipe.clone().workflow("acme_workflow_wipe"))
        .await
        .unwrap();
    assert_eq!(due(&s, &WIPE).await, 1);
    owner.define_process(&wipe).await.unwrap();
    assert_eq!(due(&s, &WIPE).await, 0);
}

// Post-mortem: a writer that had locked the machine planned it by the old definitions, and replanning
// skipped the machine because it was locked.
#[tokio::test]
async fn a_definition_reaches_machines_that_are_just_being_written() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.create_view(WORKFLOW).await;
    let owner = s.owner().await;
    let definition = ProcessDef::new(WIPE).workflow("acme_workflow_wipe");
    let (touched, reached) = (tokio::sync::Notify::new(), tokio::sync::Semaphore::new(0));
    let runs = std::sync::atomic::AtomicU32::new(0);
    let writer = s
        .session
        .transact_with(TxOptions::read_committed(), async |tx| {
            runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tx.touch(machine).await?;
            touched.notify_one();
            drop(reached.acquire().await);
            Ok(())
        });
    let define = async {
        touched.notified().await;
        let defined = owner.define_process(&definition);
        tokio::pin!(defined);
        // The definition waits for the writer.
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(200), &mut defined);
        assert!(waiting.await.is_err());
        reached.add_permits(1);
        defined.await
    };
    let (written, defined) = tokio::join!(writer, define);
    written.unwrap();
    defined.unwrap();
    // It had read the definitions before the change, so it was run again.
    assert_eq!(runs.into_inner(), 2);
    assert_eq!(due(&s, &WIPE).await, 1);
}

#[tokio::test]
async fn a_migration_plans_existing_machines() {
    let db = TestDb::at_version("20261122000200").await.unwrap();
    db.run_sql(
        "INSERT INTO machines (machine_id) VALUES ('67e55044-10b1-426f-9247-bb680e5fe0c8');
         INSERT INTO machine_provided (machine_id, provider, provider_id)
         VALUES ('67e55044-10b1-426f-9247-bb680e5fe0c8', 'Equinix', 'a')",
    )
    .await
    .unwrap();
    let bmdb = owner(&db).await;
    let applied = bmdb.migrate().await.unwrap();
    assert_eq!(applied.last(), Some(&migration::newest_known()));
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START);
    assert_eq!(session.claim(&claim).await.unwrap().len(), 1);
}

#[tokio::test]
async fn replanning_repairs_unplanned_writes() {
    let s = Scenario::new().await;
    s.provided("a").await;
    s.provided("b").await;
    s.db.run_sql("UPDATE work_item SET eligible = false, plan_at = NULL")
        .await
        .unwrap();
    assert_eq!(due(&s, &Process::SHEPHERD_AGENT_START).await, 0);
    assert_eq!(s.bmdb.replan().await.unwrap(), 2);
    assert_eq!(due(&s, &Process::SHEPHERD_AGENT_START).await, 2);
}

#[tokio::test]
async fn history_beyond_the_retention_is_trimmed() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    for cause in ["first", "second"] {
        let claim = Claim::of(&Process::SHEPHERD_AGENT_START);
        for work in s.session.claim(&claim).await.unwrap() {
            work.fail(&RETRY, cause).await.unwrap();
        }
        s.db.advance(std::time::Duration::from_secs(6))
            .await
            .unwrap();
    }
    let keep = Retention {
        attempts_per_machine: 1,
        seconds: 3600,
    };
    assert_eq!(s.bmdb.trim_history(keep).await.unwrap(), 1);
    let left = s.bmdb.history_of(machine).await.unwrap();
    let causes: Vec<_> = left
        .into_iter()
        .filter_map(|event| event.failed_cause)
        .collect();
    assert_eq!(causes, ["second"]);
}

#[tokio::test]
async fn a_definition_that_cannot_be_planned_changes_nothing() {
    let s = Scenario::new().await;
    let refused = s
        .bmdb
        .define_process(&ProcessDef::new(WIPE).workflow("nowhere"))
        .await;
    assert!(matches!(
        refused,
        Err(TxError::Database(
            bmdb_model::Error::InvalidDefinition { .. }
        ))
    ));
    assert_eq!(
        s.db.rows("SELECT count(*) FROM process_def").await.unwrap(),
        ["3"]
    );
}

#[tokio::test]
async fn a_component_may_repeat_the_definition_in_force_but_not_change_it() {
    let db = TestDb::new().await.unwrap();
    let url = db.url_as(Role::Component).await.unwrap();
    let component = Bmdb::connect(Config::new(url)).await.unwrap();
    let start = Process::SHEPHERD_AGENT_START;
    let mut conn = db.connect().await.unwrap();
    let in_force = process::of(&mut conn, &start).await.unwrap();
    component.define_process(&in_force).await.unwrap();

    let begun = std::time::Instant::now();
    let other = in_force.lane(Lane::from_static("mine"));
    let refused = component.define_process(&other).await.unwrap_err();
    assert_eq!(refused.kind(), Some(ErrorKind::Denied), "{refused}");
    // It is not retried, which would take as long as the retry limit.
    assert!(begun.elapsed() < std::time::Duration::from_secs(9));
}

#[tokio::test]
async fn migrating_without_the_owners_role_succeeds_if_nothing_is_pending_and_otherwise_names_the_role()
 {
    let db = TestDb::new().await.unwrap();
    let url = db.url_as(Role::Component).await.unwrap();
    let component = Bmdb::connect(Config::new(url)).await.unwrap();
    assert_eq!(component.migrate().await.unwrap(), [""; 0]);

    migration::revert_last(db.connect().await.unwrap(), 1)
        .await
        .unwrap();
    let refused = component.migrate().await.unwrap_err().to_string();
    assert!(refused.contains("member of bmdb_owner"), "{refused}");
    assert_eq!(owner(&db).await.migrate().await.unwrap().len(), 1);
    assert_eq!(component.migrate().await.unwrap(), [""; 0]);
}
