//! Shutdown of a loop: gracefully, within its limit, and at once on request.

use super::{AGES, Does, Running, options};
use crate::scenario::Scenario;
use crate::wait::until;
use bmdb_core::control_loop::{Commit, Failure};
use bmdb_core::{Bmdb, Config};
use bmdb_model::AgentStarted;
use bmdb_testkit::Proxy;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

fn endless() -> Does {
    Does::new(|_, _| Box::pin(std::future::pending()))
}

#[tokio::test]
async fn at_a_shutdown_attempts_may_end_and_nothing_more_is_claimed() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let gate = Arc::new(Semaphore::new(0));
    let inside = gate.clone();
    let does = Does::new(move |_, _| {
        let inside = inside.clone();
        Box::pin(async move {
            inside.acquire().await.unwrap().forget();
            Ok(Commit::agent_started(AgentStarted::now(b"key")))
        })
    });
    let running = Running::new(&s.bmdb, does, options());
    running.started(1).await;
    running.shutdown.request();
    running.logs("draining 1", 1).await;
    s.provided("b").await;
    gate.add_permits(1);
    let summary = running.ended().await;
    assert_eq!((summary.claimed, summary.finished), (1, 1));
    assert_eq!(s.attempts().await, ["Finished||"]);
    assert_eq!(
        s.rows("SELECT count(*) FROM sessions").await,
        ["1"],
        "the test's own"
    );
}

#[tokio::test]
async fn after_the_limit_attempts_are_stopped_dropped_and_given_back() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let running = Running::new(&s.bmdb, endless(), options().drain_limit(Duration::ZERO));
    running.started(1).await;
    let summary = running.stop().await;
    assert_eq!((summary.canceled, summary.lost), (1, 0));
    assert_eq!(s.attempts().await, ["Canceled||"]);
    assert_eq!(
        s.rows("SELECT count(*) FROM sessions").await,
        ["1"],
        "the test's own"
    );
}

#[tokio::test]
async fn cancel_now_does_not_wait_for_the_limit() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let running = Running::new(&s.bmdb, endless(), options());
    running.started(1).await;
    running.shutdown.request();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(
        !running.ran.is_finished(),
        "the loop waits for its attempts"
    );
    running.shutdown.cancel_now();
    assert_eq!(running.ended().await.canceled, 1);
}

/// After it was asked to stop, an attempt may still return a result.
#[tokio::test]
async fn a_result_within_the_grace_period_is_recorded() {
    let s = Scenario::new().await;
    for id in ["a", "b"] {
        s.provided(id).await;
    }
    let does = Does::new(|_, machine| {
        Box::pin(async {
            machine.stop().cancelled().await;
            match machine.provided.as_ref().unwrap().provider_id.as_str() {
                "a" => Ok(Commit::unchanged()),
                _ => Err(Failure::new("half done")),
            }
        })
    });
    let options = options().drain_limit(Duration::ZERO).grace(AGES);
    let running = Running::new(&s.bmdb, does, options);
    running.started(2).await;
    let summary = running.stop().await;
    assert_eq!((summary.finished, summary.failed), (1, 1));
}

#[tokio::test]
async fn draining_the_component_ends_its_loops() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let running = Running::new(&s.bmdb, endless(), options().drain_limit(Duration::ZERO));
    running.started(1).await;
    s.bmdb.drain(AGES).await.unwrap();
    assert_eq!(running.ended().await.claimed, 1);
    assert_eq!(s.rows("SELECT count(*) FROM work").await, ["0"]);
}

#[tokio::test]
async fn a_loop_stops_in_time_while_the_database_does_not_answer() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let proxy = Proxy::unix(s.db.url()).await.unwrap();
    let mut config = Config::new(proxy.url()).janitor_interval(None);
    config.connect_timeout = Duration::from_secs(1);
    let bmdb = Bmdb::connect(config).await.unwrap();
    let running = Running::new(&bmdb, endless(), options().drain_limit(Duration::ZERO));
    running.started(1).await;
    proxy.black_hole();
    let began = Instant::now();
    running.stop().await;
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_dropped_loop_gives_its_machines_back() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let running = Running::new(&s.bmdb, endless(), options());
    running.started(1).await;
    running.ran.abort();
    until(&s.db, "NOT EXISTS (SELECT FROM work)").await;
    assert_eq!(s.attempts().await, ["Canceled||"]);
}
