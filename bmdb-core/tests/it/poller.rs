//! Poller: its wake-ups, the length of its waits, and how they end.

use crate::scenario::{RETRY, Scenario};
use crate::wait::until;
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::{Bmdb, Claim, Config, PollOptions, Poller, Session, SessionOptions, TxError, Work};
use bmdb_model::{AgentStarted, MachineId, Process, Provided, Provider};
use bmdb_testkit::{Proxy, TestDb};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

mod listen;
mod next;

const START: Process = Process::SHEPHERD_AGENT_START;
const HOUR: Duration = Duration::from_secs(3600);
/// Far more than a wake-up takes, and far less than a poller sleeps without one.
const SOON: Duration = Duration::from_secs(5);

/// Intervals that are longer than any test.
fn endless_interval() -> PollOptions {
    PollOptions::default().poll_interval(24 * HOUR, 24 * HOUR)
}

fn equinix() -> Claim {
    Claim::of(&START).provider(&Provider::EQUINIX)
}

type Waiting = JoinHandle<(Result<Vec<Work>, TxError>, Instant)>;

/// Waits in the background; returns the time when the wait was over too.
fn wait(mut poller: Poller) -> Waiting {
    tokio::spawn(async move {
        let polled = poller.next(10).await;
        (polled, Instant::now())
    })
}

/// The machines that were claimed, and when.
async fn woken(waiting: Waiting) -> (Vec<MachineId>, Instant) {
    let ended = tokio::time::timeout(SOON, waiting).await;
    let (polled, at) = ended.expect("nothing woke the poller").unwrap();
    let claimed = polled.unwrap();
    let machines = claimed.iter().map(Work::machine).collect();
    for work in claimed {
        work.cancel().await.unwrap();
    }
    (machines, at)
}

/// Waits until the listener's connection is up, and all polls that followed are over.
async fn listening(db: &TestDb, connections: u32) {
    let connected = format!(
        "count(*) = {connections} FROM pg_stat_activity
         WHERE datname = current_database() AND query = 'LISTEN bmdb_due' AND state = 'idle'"
    );
    until(db, &connected).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// A component whose session sends no heartbeats that could be counted as polls.
async fn quiet(url: &str, config: impl FnOnce(Config) -> Config) -> (Bmdb, Session) {
    let bmdb = Bmdb::connect(config(Config::new(url).janitor_interval(None)))
        .await
        .unwrap();
    let session = SessionOptions::default().interval(24 * HOUR);
    let session = bmdb.start_session(session).await.unwrap();
    (bmdb, session)
}
