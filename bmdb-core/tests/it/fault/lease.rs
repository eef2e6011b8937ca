//! The lease when heartbeats fail: it survives what can be survived, and is given up in time.

use super::component_behind;
use crate::scenario::{Scenario, work_on};
use crate::wait::until;
use bmdb_core::{Claim, SessionOptions, SessionState, TxError};
use bmdb_model::Process;
use bmdb_testkit::Proxy;
use std::time::Duration;

const ACCESS: Process = Process::SHEPHERD_ACCESS;

const INTERVAL: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_session_outlives_the_death_of_its_heartbeats_connection() {
    let s = Scenario::new().await;
    let options = SessionOptions::default().interval(INTERVAL);
    let session = s.bmdb.start_session(options).await.unwrap();
    let deadline = format!(
        "SELECT session_deadline FROM sessions WHERE session_id = '{}'",
        session.id()
    );
    let beating = "FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()
                     AND query LIKE '%SET session_deadline = clock_timestamp()%'";
    until(&s.db, &format!("EXISTS (SELECT {beating})")).await;
    let before = s.db.rows(&deadline).await.unwrap().remove(0);
    s.db.execute(&format!("SELECT pg_terminate_backend(pid, 1000) {beating}"))
        .await
        .unwrap();
    // Longer than the whole lease would have lasted without the heartbeats after the death.
    let outlived =
        format!("(SELECT ({deadline}) > timestamptz '{before}' + interval '1200 milliseconds')");
    until(&s.db, &outlived).await;
    assert_eq!(session.state(), SessionState::Live);
    session.close().await.unwrap();
}

#[tokio::test]
async fn a_session_is_lost_in_time_when_the_database_falls_silent() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let proxy = Proxy::tcp(s.db.url()).await.unwrap();
    let bmdb = component_behind(&proxy).await;
    let options = SessionOptions::default().interval(INTERVAL);
    let session = bmdb.start_session(options).await.unwrap();
    let work = work_on(&session, &ACCESS, machine).await.unwrap();

    proxy.black_hole();
    let lost = async { tokio::join!(session.lost(), work.lost()) };
    tokio::time::timeout(INTERVAL, lost).await.expect("in time");
    assert_eq!(session.state(), SessionState::Lost);
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START);
    let refused = tokio::time::timeout(Duration::from_millis(100), session.claim(&claim)).await;
    assert!(matches!(refused, Ok(Err(TxError::SessionExpired))));

    proxy.heal().unwrap();
    assert_eq!(session.state(), SessionState::Lost, "it never comes back");
    let expired = format!(
        "EXISTS (SELECT FROM sessions
                 WHERE session_id = '{}' AND session_deadline < clock_timestamp())",
        session.id()
    );
    until(&s.db, &expired).await;
    let losses = s.bmdb.free_lost_work().await.unwrap();
    assert_eq!(losses.attempts.len(), 1);
    assert_eq!(losses.attempts[0].fence, work.fence());
}
