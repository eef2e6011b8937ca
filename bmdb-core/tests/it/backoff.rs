//! The seed's scenario: a failing process backs off exponentially, and a finish resets its backoff.

use crate::scenario::{RETRY, Scenario, work_access};
use bmdb_core::{Work, WorkError};
use bmdb_model::Process;
use bmdb_testkit::TestDb;
use std::time::Duration;

const ACCESS: Process = Process::SHEPHERD_ACCESS;

/// How a test waits for the end of a backoff.
enum Passing<'a> {
    Moved(&'a TestDb),
    Real,
}

impl Passing<'_> {
    async fn pass(&self, seconds: u32) {
        let time = Duration::from_millis(u64::from(seconds) * 1000 + 100);
        match self {
            Self::Moved(db) => db.advance(time).await.unwrap(),
            Self::Real => tokio::time::sleep(time).await,
        }
    }
}

async fn fail(s: &Scenario, work: Work, expected: u32) {
    let machine = work.machine();
    let failed = work.fail(&RETRY, "test").await.unwrap();
    assert_eq!(failed.interval.get(), expected);
    let row = s.backoff(machine, &ACCESS).await.unwrap();
    assert_eq!(row.last_interval_seconds, Some(i64::from(expected)));
    assert_eq!(
        (row.until, row.cause.as_deref()),
        (failed.until, Some("test"))
    );
}

async fn run_the_scenario(s: &Scenario, passing: Passing<'_>, failures: &[u32]) {
    let machine = s.provided("123").await;

    fail(s, work_access(&s.session).await.unwrap(), 1).await;
    assert_eq!(
        s.listed(&ACCESS).await,
        [],
        "returned while the backoff is in force"
    );
    assert!(matches!(
        work_access(&s.session).await,
        Err(WorkError::NothingToDo)
    ));
    passing.pass(1).await;
    assert_eq!(
        s.listed(&ACCESS).await,
        [machine],
        "not returned after the backoff has passed"
    );

    for &expected in failures {
        fail(s, work_access(&s.session).await.unwrap(), expected).await;
        passing.pass(expected).await;
    }

    // No tag is set, so the machine is still wanted, now without a backoff.
    work_access(&s.session)
        .await
        .unwrap()
        .finish(async |_| Ok(()))
        .await
        .unwrap();
    assert_eq!(s.backoff(machine, &ACCESS).await, None);
    fail(s, work_access(&s.session).await.unwrap(), 1).await;
    passing.pass(1).await;
    fail(s, work_access(&s.session).await.unwrap(), 2).await;
}

#[tokio::test]
async fn a_failing_process_backs_off_1_2_4_5_5_and_after_a_finish_1_2_again() {
    let s = Scenario::new().await;
    run_the_scenario(&s, Passing::Moved(&s.db), &[2, 4, 5, 5]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_in_real_time() {
    let s = Scenario::new().await;
    run_the_scenario(&s, Passing::Real, &[2, 4, 5, 5]).await;
}
