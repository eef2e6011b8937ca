//! Loops that lose their session or their database connection.

use super::{Does, Running, options};
use crate::scenario::Scenario;
use crate::wait::until;
use bmdb_core::control_loop::Commit;
use bmdb_core::{Bmdb, Config, SessionOptions};
use bmdb_model::{AgentStarted, SessionId};
use bmdb_testkit::Proxy;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// The session that has claimed the machine.
async fn claiming_session(s: &Scenario) -> SessionId {
    until(&s.db, "EXISTS (SELECT FROM work)").await;
    let id = s.rows("SELECT session_id FROM work").await.remove(0);
    id.parse().unwrap()
}

#[tokio::test]
async fn when_a_session_is_lost_attempts_are_stopped_and_the_loop_starts_another_session() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let stopped = Arc::new(Semaphore::new(0));
    let seen = stopped.clone();
    let does = Does::new(move |_, machine| {
        let seen = seen.clone();
        Box::pin(async move {
            if seen.available_permits() == 0 {
                machine.stop().cancelled().await;
                seen.add_permits(1);
                // Dropped after the grace period.
                std::future::pending::<()>().await;
            }
            Ok(Commit::agent_started(AgentStarted::now(b"key")))
        })
    });
    let lease = SessionOptions::default().interval(Duration::from_secs(1));
    let running = Running::new(&s.bmdb, does, options().session(lease));
    let first = claiming_session(&s).await;
    s.db.expire(first).await.unwrap();
    let acquired = tokio::time::timeout(Duration::from_secs(5), stopped.acquire()).await;
    drop(acquired.expect("the attempt was not stopped").unwrap());
    s.bmdb.reclaim_expired().await.unwrap();
    // Machines of a lost session back off for a while.
    s.advance(60).await;
    until(&s.db, "EXISTS (SELECT FROM machine_agent_started)").await;
    let log = running.log.clone();
    let summary = running.stop().await;
    assert_eq!(
        s.attempts().await,
        ["Expired|the session expired|15", "Finished||"]
    );
    // Moving time may have cost the loop one more session.
    assert!(summary.sessions >= 2, "{summary}");
    assert_eq!((summary.finished, summary.lost, summary.failed), (1, 1, 0));
    assert!(log.lines().contains(&"session lost".to_owned()));
    assert!(log.lines().contains(&"Lost".to_owned()));
}

/// A result during an outage of the database is recorded as soon as the database answers.
#[tokio::test]
async fn an_end_is_retried_while_the_lease_lasts() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let proxy = Proxy::tcp(s.db.url()).await.unwrap();
    let mut config = Config::new(proxy.url()).janitor_interval(None);
    config.retry_for = Duration::from_millis(10);
    let bmdb = Bmdb::connect(config).await.unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let inside = gate.clone();
    let does = Does::new(move |_, _| {
        let inside = inside.clone();
        Box::pin(async move {
            inside.acquire().await.unwrap().forget();
            Ok(Commit::agent_started(AgentStarted::now(b"key")))
        })
    });
    let lease = SessionOptions::default().interval(Duration::from_secs(3600));
    let running = Running::new(&bmdb, does, options().session(lease));
    running.started(1).await;
    proxy.refuse();
    proxy.cut();
    gate.add_permits(1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.heal().unwrap();
    until(&s.db, "EXISTS (SELECT FROM machine_agent_started)").await;
    let summary = running.stop().await;
    assert_eq!((summary.finished, summary.failed, summary.lost), (1, 0, 0));
    assert_eq!(s.attempts().await, ["Finished||"]);
}

#[tokio::test]
async fn a_loop_waits_for_a_database_that_cannot_be_reached() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let proxy = Proxy::tcp(s.db.url()).await.unwrap();
    let bmdb = Bmdb::connect(Config::new(proxy.url()).janitor_interval(None))
        .await
        .unwrap();
    proxy.refuse();
    proxy.cut();
    let does =
        Does::new(|_, _| Box::pin(async { Ok(Commit::agent_started(AgentStarted::now(b"key"))) }));
    let running = Running::new(&bmdb, does, options());
    running.logs("waiting", 1).await;
    proxy.heal().unwrap();
    until(&s.db, "EXISTS (SELECT FROM machine_agent_started)").await;
    let summary = running.stop().await;
    assert_eq!((summary.sessions, summary.finished), (1, 1));
}
