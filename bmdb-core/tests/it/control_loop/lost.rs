//! Losing the session, and the database.

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

/// The session under which something is held.
async fn holder(s: &Scenario) -> SessionId {
    until(&s.db, "EXISTS (SELECT FROM work)").await;
    let id = s.rows("SELECT session_id FROM work").await.remove(0);
    id.parse().unwrap()
}

#[tokio::test]
async fn who_works_under_a_lost_session_is_told_and_the_loop_goes_on_under_another() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let told = Arc::new(Semaphore::new(0));
    let tell = told.clone();
    let does = Does::new(move |_, machine| {
        let tell = tell.clone();
        Box::pin(async move {
            if tell.available_permits() == 0 {
                machine.stop().cancelled().await;
                tell.add_permits(1);
                // Dropped a grace later.
                std::future::pending::<()>().await;
            }
            Ok(Commit::agent_started(AgentStarted::now(b"key")))
        })
    });
    let lease = SessionOptions::default().interval(Duration::from_secs(1));
    let running = Running::new(&s.bmdb, does, options().session(lease));
    let first = holder(&s).await;
    s.db.expire(first).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(5), told.acquire()).await;
    drop(told.expect("it is not told").unwrap());
    s.bmdb.reclaim_expired().await.unwrap();
    // Machines of a lost session rest for a while.
    s.advance(60).await;
    until(&s.db, "EXISTS (SELECT FROM machine_agent_started)").await;
    let log = running.log.clone();
    let summary = running.leave().await;
    assert_eq!(
        s.attempts().await,
        ["Expired|the session expired|15", "Finished||"]
    );
    // Moving time may have cost it a session more.
    assert!(summary.sessions >= 2, "{summary}");
    assert_eq!((summary.finished, summary.lost, summary.failed), (1, 1, 0));
    assert!(log.lines().contains(&"session lost".to_owned()));
    assert!(log.lines().contains(&"Lost".to_owned()));
}

/// What is achieved while the database is away is recorded as soon as it is back.
#[tokio::test]
async fn an_end_is_tried_again_for_as_long_as_the_lease_lasts() {
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
    let summary = running.leave().await;
    assert_eq!((summary.finished, summary.failed, summary.lost), (1, 0, 0));
    assert_eq!(s.attempts().await, ["Finished||"]);
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for() {
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
    running.says("waiting", 1).await;
    proxy.heal().unwrap();
    until(&s.db, "EXISTS (SELECT FROM machine_agent_started)").await;
    let summary = running.leave().await;
    assert_eq!((summary.sessions, summary.finished), (1, 1));
}
