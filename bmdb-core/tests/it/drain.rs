//! Draining: graceful, announced to all users of the component, and limited in time.

use crate::scenario::{Scenario, connect, work_on};
use crate::wait::until;
use bmdb_core::{Bmdb, Claim, Config, SessionOptions, SessionState, TxError};
use bmdb_model::Process;
use bmdb_testkit::{Proxy, TestDb};
use diesel_async::SimpleAsyncConnection;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const START: Process = Process::SHEPHERD_AGENT_START;
const ACCESS: Process = Process::SHEPHERD_ACCESS;
/// A limit that no test reaches.
const AGES: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(8);

/// The component's transaction waits for its closure.
const A_TRANSACTION_WAITS: &str = "EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'idle in transaction')";

const NO_SESSION: &str = "NOT EXISTS (SELECT FROM sessions)";

#[tokio::test]
async fn work_still_claimed_at_the_limit_is_reported_as_lost() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let work = s.claim_one().await;
    let (drained, ()) = tokio::join!(s.bmdb.drain(Duration::ZERO), work.lost());
    assert!(!drained.unwrap());
    assert_eq!(s.session.state(), SessionState::Lost);
    assert_eq!(
        s.rows("SELECT outcome FROM work_attempt").await,
        ["Canceled"]
    );
}

#[tokio::test]
async fn draining_resolves_when_a_drain_begins() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let work = s.claim_one().await;
    let waiting = async {
        s.bmdb.draining().await;
        work.cancel().await.unwrap();
    };
    let (drained, ()) = tokio::join!(s.bmdb.drain(AGES), waiting);
    assert!(drained.unwrap());
}

#[tokio::test]
async fn a_running_transaction_may_end() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let transaction = s.session.transact(async |tx| {
        tx.hold(machine, "test").await?;
        s.bmdb.draining().await;
        // Longer than a transaction may go on after its session is closed.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    });
    let drained = async {
        until(&s.db, A_TRANSACTION_WAITS).await;
        s.bmdb.drain(AGES).await
    };
    let (committed, drained) = tokio::join!(transaction, drained);
    committed.unwrap();
    assert!(drained.unwrap());
}

#[tokio::test]
async fn an_endless_transaction_is_given_up_after_the_limit() {
    let s = Scenario::new().await;
    let endless = s.session.transact(async |_| {
        std::future::pending::<()>().await;
        Ok(())
    });
    let drained = async {
        until(&s.db, A_TRANSACTION_WAITS).await;
        s.bmdb.drain(Duration::ZERO).await
    };
    let both = async { tokio::join!(endless, drained) };
    let (ended, drained) = timeout(SOON, both).await.expect("it goes on");
    assert!(matches!(ended, Err(TxError::SessionExpired)), "{ended:?}");
    assert!(!drained.unwrap());
    assert_eq!(s.rows("SELECT session_id FROM sessions").await, [""; 0]);
}

#[tokio::test]
async fn all_sessions_are_closed_and_connections_with_them() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let others = (s.another_session().await, s.another_session().await);
    let work = work_on(&others.0, &ACCESS, machine).await.unwrap();
    assert!(!s.bmdb.drain(Duration::ZERO).await.unwrap());
    assert_eq!(s.rows("SELECT session_id FROM sessions").await, [""; 0]);
    // The heartbeat keeps its connection as long as the component lives.
    let ours = "count(*) = 1 FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'test'";
    until(&s.db, ours).await;
    assert!(s.bmdb.history_of(work.machine()).await.unwrap().len() == 2);
    drop((work, others));
}

#[tokio::test]
async fn a_drain_returns_in_time_if_the_database_does_not_answer() {
    for long_lease in [true, false] {
        let db = TestDb::new().await.unwrap();
        let proxy = Proxy::unix(db.url()).await.unwrap();
        let mut config = Config::new(proxy.url()).janitor_interval(None);
        config.connect_timeout = Duration::from_secs(1);
        let bmdb = Bmdb::connect(config).await.unwrap();
        let interval = Duration::from_secs(if long_lease { 86_400 } else { 1 });
        let options = SessionOptions::default().interval(interval);
        let session = bmdb.start_session(options).await.unwrap();
        proxy.black_hole();
        let began = Instant::now();
        let drained = timeout(SOON, bmdb.drain(Duration::from_secs(1))).await;
        let drained = drained.expect("it hangs");
        assert_eq!(session.state(), SessionState::Lost);
        assert!(began.elapsed() < Duration::from_secs(5));
        // An expired lease need not be closed.
        if long_lease {
            assert!(
                matches!(drained, Err(TxError::Unavailable(_))),
                "{drained:?}"
            );
            // Closing continues in the background.
            proxy.heal().unwrap();
            until(&db, NO_SESSION).await;
            assert!(bmdb.drain(AGES).await.unwrap());
        }
    }
}

#[tokio::test]
async fn two_drains_at_once_both_wait_for_all() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let work = s.claim_one().await;
    let ask = async |limit| {
        let drained = s.bmdb.drain(limit).await.unwrap();
        assert_eq!(s.rows("SELECT session_id FROM sessions").await, [""; 0]);
        drained
    };
    let both = async { tokio::join!(ask(Duration::ZERO), ask(AGES)) };
    let waiting = async {
        work.lost().await;
        drop(work);
    };
    let ((first, _), ()) = timeout(SOON, async { tokio::join!(both, waiting) })
        .await
        .expect("the earliest limit counts");
    assert!(!first);
    assert!(s.bmdb.drain(AGES).await.unwrap(), "nothing is left");
}

#[tokio::test]
async fn a_drain_that_is_dropped_while_it_waits_can_be_repeated() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let work = s.claim_one().await;
    let dropped = timeout(Duration::from_millis(50), s.bmdb.drain(AGES)).await;
    assert!(dropped.is_err());
    let refused = s.session.claim(&Claim::of(&START)).await.unwrap_err();
    assert!(matches!(refused, TxError::Draining), "{refused:?}");
    assert_eq!(s.session.state(), SessionState::Live);
    work.complete().await.unwrap();
    assert!(s.bmdb.drain(AGES).await.unwrap());
    assert_eq!(s.rows("SELECT session_id FROM sessions").await, [""; 0]);
}

#[tokio::test]
async fn a_drain_that_is_dropped_while_it_closes_continues_in_the_background() {
    let s = Scenario::new().await;
    let mut operator = s.db.connect().await.unwrap();
    let lock = "BEGIN; SELECT FROM sessions FOR UPDATE";
    operator.batch_execute(lock).await.unwrap();
    let dropped = timeout(Duration::from_millis(200), s.bmdb.drain(Duration::ZERO)).await;
    assert!(dropped.is_err());
    assert_eq!(s.session.state(), SessionState::Lost);
    operator.batch_execute("ROLLBACK").await.unwrap();
    until(&s.db, NO_SESSION).await;
}

#[tokio::test]
async fn a_session_that_is_started_during_a_drain_is_closed_or_refused() {
    let db = TestDb::new().await.unwrap();
    for delay in 0..10 {
        let bmdb = connect(&db).await;
        let drained = async {
            tokio::time::sleep(Duration::from_micros(300) * delay).await;
            bmdb.drain(Duration::ZERO).await
        };
        let started = bmdb.start_session(SessionOptions::default());
        let (started, drained) = tokio::join!(started, drained);
        drained.unwrap();
        if let Ok(session) = started {
            assert_eq!(session.state(), SessionState::Lost);
        }
        until(&db, NO_SESSION).await;
    }
}
