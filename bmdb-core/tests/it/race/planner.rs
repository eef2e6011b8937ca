//! The planner against ends, and against itself: two writers of one machine's tags.

use crate::scenario::{RETRY, Scenario};
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_core::{Claim, Isolation, Tx, TxError, TxOptions};
use bmdb_model::internal::session::heartbeat;
use bmdb_model::os_installation::{InstallationResult, set_report, set_request};
use bmdb_model::{AgentStarted, MachineId, Process, Provided, Provider, agent, machine, plan};
use bmdb_testkit::TestDb;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

const START: Process = Process::SHEPHERD_AGENT_START;

#[tokio::test]
async fn a_fail_waits_for_a_planner_that_rewrites_its_item_and_both_take_effect() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let mut claimed = s.session.claim(&Claim::of(&START)).await.unwrap();
    let work = claimed.remove(0);
    let mut planner = s.db.connect().await.unwrap();
    planner.batch_execute("BEGIN").await.unwrap();
    start_agent(&mut planner, machine, Touch::First).await;
    plan::replan(&mut planner, &[machine]).await.unwrap();

    let failing = tokio::spawn(async move { work.fail(&RETRY, "test").await });
    until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
    planner.batch_execute("COMMIT").await.unwrap();
    assert_eq!(failing.await.unwrap().unwrap().interval.get(), 1);

    let item = "SELECT eligible, session_id IS NULL, last_interval_seconds, failures
                FROM work_item WHERE process = 'ShepherdAgentStart'";
    assert_eq!(s.db.rows(item).await.unwrap(), ["f|t|1|1"]);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    First,
    Forgotten,
}

async fn start_agent(conn: &mut AsyncPgConnection, id: MachineId, touch: Touch) {
    if touch == Touch::First {
        machine::touch(conn, &[id]).await.unwrap();
    }
    let started = AgentStarted::now(b"key");
    agent::set_started(conn, id, &started).await.unwrap();
}

/// Items whose eligibility differs from their workflow view.
async fn stale_items(db: &TestDb) -> Vec<String> {
    db.rows(
        "SELECT process, eligible FROM work_item i
         WHERE eligible <> CASE process
             WHEN 'ShepherdAgentStart'
             THEN EXISTS (SELECT FROM workflow_agent_start w WHERE w.machine_id = i.machine_id)
             ELSE EXISTS (SELECT FROM workflow_agent_recovery w WHERE w.machine_id = i.machine_id)
         END",
    )
    .await
    .unwrap()
}

fn at(isolation: Isolation) -> TxOptions {
    let mut options = TxOptions::default();
    options.isolation = isolation;
    options
}

/// One writer sets the provider; while its transaction is open, a second one starts the agent. In a
/// snapshot from before the first, the second has nothing to plan.
async fn check_two_writers(first: Isolation, second: Isolation) {
    let s = Scenario::new().await;
    let machine = s.db.machine().create().await.unwrap();
    let (written, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));

    let provider = s.another_session().await;
    let (wrote, waiting) = (written.clone(), go_on.clone());
    let providing = tokio::spawn(async move {
        let provide = async |tx: &mut Tx<'_>| {
            let provided = Provided::new(Provider::EQUINIX, "1");
            tx.set_provided(machine, &provided).await?;
            wrote.notify_one();
            waiting.notified().await;
            Ok(())
        };
        provider.transact_with(at(first), provide).await
    });
    written.notified().await;
    let starter = s.another_session().await;
    let starting = tokio::spawn(async move {
        let start = async |tx: &mut Tx<'_>| {
            tx.set_agent_started(machine, &AgentStarted::now(b"key"))
                .await
        };
        starter.transact_with(at(second), start).await
    });
    until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
    go_on.notify_one();
    providing.await.unwrap().unwrap();
    starting.await.unwrap().unwrap();

    assert!(stale_items(&s.db).await.is_empty());
    let eligible = "SELECT process FROM work_item WHERE eligible";
    assert_eq!(s.db.rows(eligible).await.unwrap(), ["ShepherdRecovery"]);
}

#[tokio::test]
async fn two_writers_of_different_tags_plan_right_when_serializable() {
    check_two_writers(Isolation::Serializable, Isolation::Serializable).await;
}

#[tokio::test]
async fn two_writers_of_different_tags_plan_right_at_read_committed() {
    check_two_writers(Isolation::ReadCommitted, Isolation::ReadCommitted).await;
}

/// Here a lock does not suffice, only the bumped version does: the second plans with the snapshot that it
/// took before it waited, and PostgreSQL does not check READ COMMITTED transactions for serialization
/// conflicts.
#[tokio::test]
async fn a_serializable_writer_that_waited_for_a_read_committed_one_plans_right() {
    check_two_writers(Isolation::ReadCommitted, Isolation::Serializable).await;
}

#[tokio::test]
async fn a_read_committed_writer_that_waited_for_a_serializable_one_plans_right() {
    check_two_writers(Isolation::Serializable, Isolation::ReadCommitted).await;
}

/// The touch succeeds, because a claim locks no machine; but the plan must not write an item with a
/// snapshot from before the claim.
#[tokio::test]
async fn a_serializable_writer_is_run_again_when_a_claim_commits_between_its_touch_and_its_plan() {
    let s = Scenario::new().await;
    let id = s.provided("1").await;
    let rival = s.another_session().await;
    let (runs, kept) = (AtomicU32::new(0), Mutex::new(Vec::new()));
    s.session
        .transact(async |tx| {
            tx.set_agent_started(id, &AgentStarted::now(b"key")).await?;
            if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                let claimed = rival.claim(&Claim::of(&START)).await?;
                kept.lock().unwrap().extend(claimed);
            }
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(runs.into_inner(), 2);
    let kept = kept.into_inner().unwrap();
    assert_eq!(kept.len(), 1);
    assert!(stale_items(&s.db).await.is_empty());
    assert_eq!(s.rows("SELECT process FROM work").await, [START.as_str()]);
}

#[tokio::test]
async fn a_heartbeat_of_its_session_does_not_make_a_serializable_writer_run_again() {
    let s = Scenario::new().await;
    let id = s.provided("1").await;
    let (runs, db, session) = (AtomicU32::new(0), &s.db, s.session.id());
    s.session
        .transact(async |tx| {
            runs.fetch_add(1, Ordering::Relaxed);
            tx.set_agent_started(id, &AgentStarted::now(b"key")).await?;
            let mut heart = db.connect().await.map_err(TxError::abort)?;
            assert_eq!(heartbeat(&mut heart, &[session]).await?, [session]);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(runs.into_inner(), 1);
}

/// The control: without the touch, each plans with a snapshot without the other's tag.
#[tokio::test]
async fn two_writers_that_forget_to_touch_the_machine_leave_a_stale_plan() {
    let s = Scenario::new().await;
    let id = s.provided("1").await;
    let mut starter = s.db.connect().await.unwrap();
    starter.batch_execute("BEGIN").await.unwrap();
    start_agent(&mut starter, id, Touch::Forgotten).await;
    let mut installer = s.db.connect().await.unwrap();
    installer.batch_execute("BEGIN").await.unwrap();
    set_request(&mut installer, id, 1, b"").await.unwrap();
    let success = InstallationResult::Success;
    set_report(&mut installer, id, 1, success, b"")
        .await
        .unwrap();

    plan::replan(&mut starter, &[id]).await.unwrap();
    let planning = tokio::spawn(async move {
        plan::replan(&mut installer, &[id]).await.unwrap();
        installer.batch_execute("COMMIT").await.unwrap();
    });
    until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
    starter.batch_execute("COMMIT").await.unwrap();
    planning.await.unwrap();
    assert_eq!(stale_items(&s.db).await, ["ShepherdRecovery|t"]);
}
