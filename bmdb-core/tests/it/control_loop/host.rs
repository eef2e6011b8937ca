//! A host that cannot process machines leaves them to others.

use super::{Does, Running, once, options};
use crate::scenario::Scenario;
use crate::wait::until;
use bmdb_core::control_loop::{Commit, Failure, LoopError};
use bmdb_model::AgentStarted;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Fails so many times because of the host, and then starts agents.
fn broken(times: u32) -> (Does, Arc<AtomicU32>) {
    let tried = Arc::new(AtomicU32::new(0));
    let count = tried.clone();
    let does = Does::new(move |_, _| {
        let starts = count.fetch_add(1, Ordering::Relaxed) >= times;
        Box::pin(async move {
            match starts {
                true => Ok(Commit::agent_started(AgentStarted::now(b"key"))),
                false => Err(Failure::host("no shell")),
            }
        })
    });
    (does, tried)
}

/// One host without a shell claimed all machines in a loop, and others found none.
#[tokio::test]
async fn a_host_that_fails_gives_all_machines_back_for_others() {
    let s = Scenario::new().await;
    s.machines(50).await;
    let (does, tried) = broken(u32::MAX);
    let running = Running::new(&s.bmdb, does, options());
    until(&s.db, "count(*) >= 1 FROM work_attempt").await;
    let (does, _) = broken(0);
    let summary = once(&s.bmdb, does).await.unwrap();
    // The broken host may have one of them just then.
    assert!(summary.finished >= 49, "{summary}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let summary = running.stop().await;
    let tried = u64::from(tried.load(Ordering::Relaxed));
    assert!(tried <= 8 + 5, "{tried} machines were taken");
    assert_eq!(
        (summary.host_failed, summary.canceled, summary.failed),
        (tried, tried, 0)
    );
    let harmed = "SELECT count(*) FROM work_item WHERE failures > 0 OR last_interval_seconds > 0";
    assert_eq!(s.rows(harmed).await, ["0"]);
}

#[tokio::test]
async fn a_host_that_works_again_goes_on_with_all_slots() {
    let s = Scenario::new().await;
    s.machines(20).await;
    let (does, _) = broken(9);
    let running = Running::new(&s.bmdb, does, options());
    until(&s.db, "count(*) = 20 FROM machine_agent_started").await;
    let lines = running.log.lines();
    let waits = lines
        .iter()
        .filter(|line| line.contains("HostFailing"))
        .count();
    assert!((2..=9).contains(&waits), "{lines:?}");
    let summary = running.stop().await;
    assert_eq!((summary.host_failed, summary.finished), (9, 20));
}

#[tokio::test]
async fn with_once_a_loop_gives_up_after_three_in_a_row_and_not_before() {
    let s = Scenario::new().await;
    s.machines(2).await;
    let limited = options().parallelism(1);
    let (does, tried) = broken(u32::MAX);
    let runner = bmdb_core::control_loop::Runner::new(&s.bmdb, does).options(limited.once(true));
    let error = runner
        .run(bmdb_core::control_loop::Shutdown::new())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, LoopError::HostFails { cause } if cause == "no shell"),
        "{error}"
    );
    assert_eq!(tried.load(Ordering::Relaxed), 3);
    // They do not rest, so others can claim them at once.
    let (does, _) = broken(0);
    assert_eq!(once(&s.bmdb, does).await.unwrap().finished, 2);

    let s = Scenario::new().await;
    s.machines(2).await;
    let (does, _) = broken(2);
    let summary = once(&s.bmdb, does).await.unwrap();
    assert_eq!((summary.host_failed, summary.finished), (2, 2));
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_the_host() {
    let s = Scenario::new().await;
    s.machines(1).await;
    let (does, _) = broken(u32::MAX);
    let running = Running::new(&s.bmdb, does, options());
    until(&s.db, "sum(repeats + 1) >= 4 FROM work_attempt").await;
    // `stop` panics if the loop still runs after 10 seconds.
    running.stop().await;
    let (does, _) = broken(u32::MAX);
    let running = Running::new(&s.bmdb, does, options());
    running.started(1).await;
    s.bmdb.drain(Duration::from_secs(5)).await.unwrap();
    running.ended().await;
}
