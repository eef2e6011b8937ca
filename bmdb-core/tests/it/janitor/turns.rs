//! When a janitor takes its turns.

use super::component;
use crate::scenario::Scenario;
use crate::wait::until;
use bmdb_core::{Config, SessionOptions, SessionState};
use bmdb_testkit::Proxy;
use diesel_async::SimpleAsyncConnection;
use std::time::Duration;

const OFTEN: Option<Duration> = Some(Duration::from_millis(10));

#[tokio::test]
async fn a_janitor_pauses_while_its_own_heartbeats_fail() {
    let s = Scenario::new().await;
    let bmdb = component(&s.db, OFTEN).await;
    let options = SessionOptions::default().interval(Duration::from_secs(9));
    let session = bmdb.start_session(options).await.unwrap();
    let mut rival = s.db.connect().await.unwrap();
    let block = format!(
        "BEGIN; SELECT 1 FROM sessions WHERE session_id = '{}' FOR UPDATE",
        session.id()
    );
    rival.batch_execute(&block).await.unwrap();
    while session.state() != SessionState::Suspect {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Lets a turn end that had begun before.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let lost = s.db.session(Duration::from_secs(60)).await.unwrap();
    s.db.expire(lost).await.unwrap();
    s.db.run_sql("UPDATE upkeep SET due_at = clock_timestamp()")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let untouched = format!(
        "SELECT EXISTS (SELECT FROM sessions WHERE session_id = '{lost}'),
                (SELECT bool_and(due_at <= clock_timestamp()) FROM upkeep)"
    );
    let found = s.rows(&untouched).await;
    assert_eq!(session.state(), SessionState::Suspect, "too slow to tell");
    assert_eq!(found, ["t|t"]);

    rival.batch_execute("ROLLBACK").await.unwrap();
    let removed = format!(
        "NOT EXISTS (SELECT FROM sessions WHERE session_id = '{lost}')
         AND (SELECT bool_and(due_at > clock_timestamp()) FROM upkeep)"
    );
    until(&s.db, &removed).await;
    assert_eq!(session.state(), SessionState::Live);
}

#[tokio::test]
async fn a_janitor_without_sessions_resumes_after_an_outage() {
    let s = Scenario::new().await;
    let proxy = Proxy::unix(s.db.url()).await.unwrap();
    let config = Config::new(proxy.url()).component("janitor");
    let _janitor = bmdb_core::Bmdb::connect(config.janitor_interval(OFTEN))
        .await
        .unwrap();
    until(&s.db, "bool_and(due_at > clock_timestamp()) FROM upkeep").await;
    proxy.black_hole();
    let lost = s.db.session(Duration::from_secs(60)).await.unwrap();
    s.db.expire(lost).await.unwrap();
    proxy.heal().unwrap();
    let removed = format!("NOT EXISTS (SELECT FROM sessions WHERE session_id = '{lost}')");
    until(&s.db, &removed).await;
}
