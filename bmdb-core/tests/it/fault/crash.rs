//! A server that is killed while attempts end: after its restart, each has exactly one end.

use super::ends::{End, claimed_fences};
use crate::dedicated_server;
use crate::scenario::Scenario;
use bmdb_core::{Bmdb, Claim, Config, HistoryDetail, SessionOptions, TxError};
use bmdb_model::{Process, Provider};
use bmdb_testkit::{Profile, Server, TestDb};
use std::sync::Arc;
use std::time::Duration;

/// The number of attempts that end around the crash.
const ATTEMPTS: u32 = 40;

const LONG: Duration = Duration::from_secs(60);

/// A component that outlives a restart of its server.
async fn scenario(server: &Arc<Server>) -> Scenario {
    let db = TestDb::on(server).await.unwrap();
    let mut config = Config::new(db.url())
        .component("test")
        .history(HistoryDetail::Full);
    config.janitor_interval = None;
    config.retry_for = LONG;
    let bmdb = Bmdb::connect(config).await.unwrap();
    let options = SessionOptions::default().interval(2 * LONG);
    let session = bmdb.start_session(options).await.unwrap();
    Scenario { db, bmdb, session }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_that_ends_while_its_server_is_killed_has_one_end() {
    let server = dedicated_server::server(Profile::Durable).await;
    let s = scenario(&server).await;
    s.import(ATTEMPTS as usize).await;
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START);
    let claim = claim.provider(&Provider::EQUINIX).limit(ATTEMPTS);
    let claimed = s.session.claim(&claim).await.unwrap();
    assert_eq!(claimed.len(), ATTEMPTS as usize);

    let mut ending = Vec::new();
    for (work, at) in claimed.into_iter().zip(0..) {
        let (fence, end) = (work.fence(), End::ALL[at % End::ALL.len()]);
        let delay = Duration::from_micros(1000 * at as u64);
        let ended = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            end.of(work).await
        });
        ending.push((fence, end, ended));
    }
    let crashing = server.clone();
    let crash = move || {
        std::thread::sleep(Duration::from_millis(20));
        crashing.kill9().unwrap();
        crashing.restart().unwrap();
    };
    tokio::task::spawn_blocking(crash).await.unwrap();

    for (fence, end, ending) in ending {
        let mut outcome = end.outcome();
        if let Err(error) = ending.await.unwrap() {
            let (reason, work) = error.into_parts();
            let work = work
                .unwrap_or_else(|| panic!("{end:?} of {fence} did not return the work: {reason}"));
            match work.cancel().await {
                Ok(()) => outcome = "Canceled",
                Err(error) => assert!(matches!(error.reason(), TxError::WorkLost), "{error}"),
            }
        }
        let ends = format!("SELECT outcome FROM work_attempt WHERE fence = {fence}");
        assert_eq!(s.rows(&ends).await, [outcome], "{end:?} of {fence}");
    }
    assert!(claimed_fences(&s.db).await.is_empty());
}
