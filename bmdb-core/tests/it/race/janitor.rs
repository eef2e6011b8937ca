//! The janitor against sessions that are being renewed, and transactions under way.

use super::gate::{Before, Gate};
use crate::scenario::{RETRY, Scenario, work_on};
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_core::{Bmdb, Config, Reclaimed, TxError};
use bmdb_model::internal::{reclaim, session, work};
use bmdb_model::{AgentStarted, MachineId, Process, SessionId};
use bmdb_testkit::TestDb;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use std::time::Duration;
use tokio::task::JoinHandle;

const ACCESS: Process = Process::SHEPHERD_ACCESS;

/// A session whose heartbeat was sent in time and is not committed yet, although its deadline has passed
/// since.
async fn session_with_a_heartbeat_in_flight(db: &TestDb) -> (SessionId, AsyncPgConnection) {
    let renewing = db.session(Duration::from_secs(60)).await.unwrap();
    db.run_sql(
        "UPDATE sessions SET session_deadline = clock_timestamp() + interval '100 milliseconds'
         WHERE session_component_name = 'fixture'",
    )
    .await
    .unwrap();
    let mut heartbeat_conn = db.connect().await.unwrap();
    heartbeat_conn.batch_execute("BEGIN").await.unwrap();
    let saved = session::heartbeat(&mut heartbeat_conn, &[renewing])
        .await
        .unwrap();
    assert_eq!(saved, [renewing]);
    let expired = format!(
        "EXISTS (SELECT FROM sessions
                 WHERE session_id = '{renewing}' AND session_deadline < clock_timestamp())"
    );
    until(db, &expired).await;
    (renewing, heartbeat_conn)
}

async fn exists(db: &TestDb, session: SessionId) -> bool {
    let found = format!("SELECT 1 FROM sessions WHERE session_id = '{session}'");
    !db.rows(&found).await.unwrap().is_empty()
}

/// A janitor's turn, paused between its snapshot and its locking of sessions.
async fn paused_turn(db: &TestDb, gate: &Gate) -> JoinHandle<Reclaimed> {
    let config = Config::new(gate.url())
        .component("test")
        .janitor_interval(None);
    let janitor = Bmdb::connect(config).await.unwrap();
    let turn = tokio::spawn(async move { janitor.reclaim_expired().await.unwrap() });
    gate.reached(db).await;
    turn
}

#[tokio::test]
async fn the_janitor_neither_waits_for_nor_overruns_a_heartbeat_in_flight() {
    let s = Scenario::new().await;
    let (renewing, mut heartbeat_conn) = session_with_a_heartbeat_in_flight(&s.db).await;
    assert_eq!(
        s.bmdb.reclaim_expired().await.unwrap(),
        Reclaimed::default()
    );
    heartbeat_conn.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        s.bmdb.reclaim_expired().await.unwrap(),
        Reclaimed::default()
    );
    assert!(exists(&s.db, renewing).await);
}

#[tokio::test]
async fn a_heartbeat_that_commits_between_the_janitors_read_and_lock_saves_the_session() {
    let s = Scenario::new().await;
    let gate = Gate::closed(&s.db, Before::LockingSessions).await;
    let (renewing, mut heartbeat_conn) = session_with_a_heartbeat_in_flight(&s.db).await;
    let turn = paused_turn(&s.db, &gate).await;
    heartbeat_conn.batch_execute("COMMIT").await.unwrap();
    gate.open().await;
    assert_eq!(turn.await.unwrap(), Reclaimed::default());
    assert!(exists(&s.db, renewing).await);
}

/// The control: a simpler janitor that deletes by a list would delete the live session.
#[tokio::test]
async fn a_janitor_that_deletes_by_a_list_would_delete_a_renewed_session() {
    let s = Scenario::new().await;
    let gate = Gate::closed(&s.db, Before::LockingSessions).await;
    let (renewing, mut heartbeat_conn) = session_with_a_heartbeat_in_flight(&s.db).await;
    let mut janitor = gate.connect().await;
    let turn = tokio::spawn(async move {
        janitor
            .batch_execute(
                "DELETE FROM sessions WHERE session_id IN (
                     SELECT session_id FROM sessions WHERE session_deadline < clock_timestamp())",
            )
            .await
    });
    gate.reached(&s.db).await;
    heartbeat_conn.batch_execute("COMMIT").await.unwrap();
    gate.open().await;
    turn.await.unwrap().unwrap();
    assert!(
        !exists(&s.db, renewing).await,
        "the control deletes the live session"
    );
}

#[tokio::test]
async fn an_open_transaction_commits_before_its_expired_session_is_removed() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    let (db, bmdb, session) = (&s.db, &s.bmdb, s.session.id());
    s.session
        .transact(async |tx| {
            db.expire(session).await.map_err(TxError::abort)?;
            assert_eq!(bmdb.reclaim_expired().await?, Reclaimed::default());
            tx.set_agent_started(machine, &AgentStarted::now(b"key"))
                .await
        })
        .await
        .unwrap();
    assert_eq!(keys(db, machine).await, ["key"]);

    let losses = s.bmdb.reclaim_expired().await.unwrap();
    assert_eq!(losses.sessions, [session]);
    assert_eq!(losses.attempts[0].fence, work.fence());
}

#[tokio::test]
async fn a_finish_under_way_when_the_lease_ran_out_is_not_recorded_as_lost() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    let (db, bmdb, session) = (&s.db, &s.bmdb, s.session.id());
    work.finish(async |tx| {
        db.expire(session).await.map_err(TxError::abort)?;
        assert_eq!(bmdb.reclaim_expired().await?, Reclaimed::default());
        tx.set_agent_started(machine, &AgentStarted::now(b"key"))
            .await
    })
    .await
    .unwrap();

    let losses = s.bmdb.reclaim_expired().await.unwrap();
    assert_eq!((losses.sessions, losses.attempts), (vec![session], vec![]));
    let outcomes = "SELECT outcome FROM work_attempt";
    assert_eq!(s.db.rows(outcomes).await.unwrap(), ["Finished"]);
}

#[tokio::test]
async fn a_claim_that_commits_after_the_janitors_first_read_is_freed_with_a_record() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let claimer = s.db.session(Duration::from_secs(60)).await.unwrap();
    let gate = Gate::closed(&s.db, Before::LockingSessions).await;
    let mut claiming = s.db.connect().await.unwrap();
    claiming.batch_execute("BEGIN").await.unwrap();
    let start = &Process::SHEPHERD_AGENT_START;
    let claimed = work::claim(&mut claiming, start, None, claimer, 1).await;
    let fence = claimed.unwrap().unwrap()[0].fence;
    s.db.expire(claimer).await.unwrap();
    let turn = paused_turn(&s.db, &gate).await;
    claiming.batch_execute("COMMIT").await.unwrap();
    gate.open().await;

    let losses = turn.await.unwrap();
    assert_eq!(losses.sessions, [claimer]);
    assert_eq!(losses.attempts.len(), 1);
    assert_eq!(losses.attempts[0].fence, fence);
    let item = "SELECT session_id IS NULL, backoff_until > now(), losses FROM work_item";
    assert_eq!(s.db.rows(item).await.unwrap(), ["t|t|1"]);
    let attempt = "SELECT machine_id, outcome FROM work_attempt";
    let expected = format!("{machine}|Expired");
    assert_eq!(s.db.rows(attempt).await.unwrap(), [expected]);
}

/// Post-mortem: an end found its session alive just before the deadline and then waited for a janitor that
/// freed the session's first attempts and kept the session for the next batch. The end failed as lost work: a
/// row that was locked but not written is not checked again after the wait.
#[tokio::test]
async fn an_end_that_waits_while_its_session_is_freed_in_batches_fails_as_expired() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    let mut janitor = s.db.connect().await.unwrap();
    let lock = "BEGIN; SELECT FROM sessions FOR UPDATE";
    let soon = "UPDATE sessions SET session_deadline = clock_timestamp() + interval '300 ms'";
    s.db.run_sql(soon).await.unwrap();
    janitor.batch_execute(lock).await.unwrap();
    let ending = tokio::spawn(async move { work.fail(&RETRY, "too late").await });
    until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
    until(&s.db, "session_deadline < clock_timestamp() FROM sessions").await;

    let sessions = [s.session.id()];
    let items = reclaim::lock_items(&mut janitor, &sessions, 500)
        .await
        .unwrap();
    let items = [(items[0].clone(), 1)];
    reclaim::expire(&mut janitor, &items, &sessions)
        .await
        .unwrap();
    session::keep(&mut janitor, &sessions).await.unwrap();
    janitor.batch_execute("COMMIT").await.unwrap();
    let error = ending.await.unwrap().unwrap_err();
    assert!(matches!(error.reason(), TxError::SessionExpired), "{error}");
}

#[tokio::test]
async fn two_concurrent_janitors_record_a_loss_once() {
    let s = Scenario::new().await;
    for id in ["1", "2", "3"] {
        s.provided(id).await;
    }
    let lost = s.db.session(Duration::from_secs(60)).await.unwrap();
    let mut conn = s.db.connect().await.unwrap();
    let start = &Process::SHEPHERD_AGENT_START;
    let claimed = work::claim(&mut conn, start, None, lost, 3).await.unwrap();
    assert_eq!(claimed.unwrap().len(), 3);
    s.db.expire(lost).await.unwrap();

    let gate = Gate::closed(&s.db, Before::LockingSessions).await;
    let paused = paused_turn(&s.db, &gate).await;
    let first = s.bmdb.reclaim_expired().await.unwrap();
    assert_eq!(first.attempts.len(), 3);
    gate.open().await;
    assert_eq!(paused.await.unwrap(), Reclaimed::default());
    let losses = "SELECT losses FROM work_item WHERE losses <> 0";
    assert_eq!(s.db.rows(losses).await.unwrap(), ["1", "1", "1"]);
}

async fn keys(db: &TestDb, machine: MachineId) -> Vec<String> {
    db.rows(&format!(
        "SELECT convert_from(agent_public_key, 'UTF8') FROM machine_agent_started
         WHERE machine_id = '{machine}'"
    ))
    .await
    .unwrap()
}
