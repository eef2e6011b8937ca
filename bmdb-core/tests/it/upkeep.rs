//! Upkeep: definitions, re-planning and trimming, beside components that go on working.

use crate::scenario::{RETRY, Scenario, connect};
use bmdb_core::{Claim, Retention, SessionOptions, TxError, TxOptions};
use bmdb_model::{Process, ProcessDef, migration};
use bmdb_testkit::TestDb;

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
async fn a_defined_process_is_due_at_once_and_nowhere_after_it_lost_its_workflow() {
    let s = Scenario::new().await;
    s.provided("a").await;
    s.db.execute(WORKFLOW).await.unwrap();
    let wipe = ProcessDef::new(WIPE);
    s.bmdb
        .define_process(&wipe.clone().workflow("acme_workflow_wipe"))
        .await
        .unwrap();
    assert_eq!(due(&s, &WIPE).await, 1);
    s.bmdb.define_process(&wipe).await.unwrap();
    assert_eq!(due(&s, &WIPE).await, 0);
}

// A writer that held the machine planned it by the definitions it had read, and the re-planning
// passed over the machine because it was locked.
#[tokio::test]
async fn a_definition_reaches_machines_that_are_just_being_written() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.db.execute(WORKFLOW).await.unwrap();
    let definition = ProcessDef::new(WIPE).workflow("acme_workflow_wipe");
    let (touched, reached) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let writer = s
        .session
        .transact_with(TxOptions::read_committed(), async |tx| {
            tx.touch(machine).await?;
            touched.notify_one();
            reached.notified().await;
            Ok(())
        });
    let define = async {
        touched.notified().await;
        let defined = s.bmdb.define_process(&definition);
        tokio::pin!(defined);
        // It waits for the writer.
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(200), &mut defined);
        assert!(waiting.await.is_err());
        reached.notify_one();
        defined.await
    };
    let (written, defined) = tokio::join!(writer, define);
    written.unwrap();
    defined.unwrap();
    assert_eq!(due(&s, &WIPE).await, 1);
}

#[tokio::test]
async fn a_migration_plans_the_machines_that_are_there_already() {
    let db = TestDb::at_version("20261122000200").await.unwrap();
    db.execute(
        "INSERT INTO machines (machine_id) VALUES ('67e55044-10b1-426f-9247-bb680e5fe0c8');
         INSERT INTO machine_provided (machine_id, provider, provider_id)
         VALUES ('67e55044-10b1-426f-9247-bb680e5fe0c8', 'Equinix', 'a')",
    )
    .await
    .unwrap();
    let bmdb = connect(&db).await;
    let applied = bmdb.migrate().await.unwrap();
    assert_eq!(applied.last(), Some(&migration::newest_known()));
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START);
    assert_eq!(session.claim(&claim).await.unwrap().len(), 1);
}

#[tokio::test]
async fn replanning_repairs_what_was_written_past_the_planner() {
    let s = Scenario::new().await;
    s.provided("a").await;
    s.provided("b").await;
    s.db.execute("UPDATE work_item SET eligible = false, plan_at = NULL")
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
async fn a_definition_that_cannot_be_planned_by_changes_nothing() {
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
