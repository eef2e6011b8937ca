//! Background cleanup: tasks neither pile up nor block each other.

use super::component_trying_for;
use crate::scenario::Scenario;
use crate::wait::until;
use bmdb_core::{Bmdb, Claim, Session, SessionOptions, Work};
use bmdb_model::{Process, Provider};
use bmdb_testkit::Proxy;
use diesel_async::SimpleAsyncConnection;
use std::time::Duration;

const START: Process = Process::SHEPHERD_AGENT_START;
const LONG: Duration = Duration::from_secs(60);

const NOTHING_IS_CLAIMED: &str = "NOT EXISTS (SELECT FROM work)";

/// A component behind a proxy, and machines that are due.
struct Many {
    s: Scenario,
    proxy: Proxy,
    bmdb: Bmdb,
    session: Session,
}

impl Many {
    async fn new(machines: usize) -> Self {
        let s = Scenario::new().await;
        s.import(machines).await;
        let proxy = Proxy::unix(s.db.url()).await.unwrap();
        let bmdb = component_trying_for(&proxy, LONG).await;
        let session = session(&bmdb, LONG).await;
        Self {
            s,
            proxy,
            bmdb,
            session,
        }
    }

    async fn claim(&self, machines: u32) -> Vec<Work> {
        let claimed = self.session.claim(&claim(machines)).await.unwrap();
        assert_eq!(claimed.len(), machines as usize);
        claimed
    }
}

async fn session(bmdb: &Bmdb, interval: Duration) -> Session {
    let options = SessionOptions::default().interval(interval);
    bmdb.start_session(options).await.unwrap()
}

fn claim(machines: u32) -> Claim {
    let claim = Claim::of(&START).provider(&Provider::EQUINIX);
    claim.limit(machines)
}

#[tokio::test]
async fn thousands_of_attempts_dropped_during_a_silence_are_canceled_in_a_few_statements() {
    let m = Many::new(2100).await;
    let claimed = m.claim(2000).await;
    m.proxy.black_hole();
    let one = claim(1);
    for _ in 0..200 {
        let claimed = tokio::time::timeout(Duration::from_millis(1), m.session.claim(&one));
        assert!(
            claimed.await.is_err(),
            "the black hole has let the claim through"
        );
    }
    drop(claimed);
    let before = m.proxy.requests();
    m.proxy.heal().unwrap();
    until(&m.s.db, NOTHING_IS_CLAIMED).await;
    let requests = m.proxy.requests() - before;
    assert!(requests < 200, "{requests}");
    let machines = m.claim(2100).await.len();
    assert_eq!(machines, 2100);
}

#[tokio::test]
async fn cleanup_of_a_lost_session_is_skipped_and_delays_no_other() {
    let m = Many::new(200).await;
    let lost = session(&m.bmdb, Duration::from_secs(1)).await;
    let left_behind = lost.claim(&claim(100)).await.unwrap();
    let claimed = m.claim(100).await;
    m.proxy.black_hole();
    drop(left_behind);
    lost.lost().await;
    drop(claimed);
    m.proxy.heal().unwrap();
    let released = format!(
        "NOT EXISTS (SELECT FROM work_item WHERE session_id = '{}')",
        m.session.id()
    );
    until(&m.s.db, &released).await;
    m.s.db.expire(lost.id()).await.unwrap();
    m.s.bmdb.reclaim_expired().await.unwrap();
    assert_eq!(m.s.rows("SELECT * FROM work").await, [""; 0]);
    let drained = tokio::time::timeout(LONG, m.bmdb.drain(Duration::ZERO)).await;
    drained.expect("cleanup tasks are still pending").unwrap();
}

/// Post-mortem: cleanup tasks ran one after another, and one that waited for a row that an operator had
/// locked delayed all others for half a minute, longer than a lease.
#[tokio::test]
async fn an_attempt_whose_row_is_locked_does_not_delay_the_others() {
    let m = Many::new(20).await;
    let other = session(&m.bmdb, LONG).await;
    let claimed = m.claim(10).await;
    let others = other.claim(&claim(10)).await.unwrap();
    let mut operator = m.s.db.connect().await.unwrap();
    let fence = claimed[4].fence();
    let lock = format!("BEGIN; SELECT FROM work_item WHERE fence = {fence} FOR UPDATE");
    operator.batch_execute(&lock).await.unwrap();
    drop(claimed);
    drop(others);
    let all_others = format!(
        "array_agg(fence) = ARRAY[{fence}::bigint] FROM work_item WHERE session_id IS NOT NULL"
    );
    until(&m.s.db, &all_others).await;
    operator.batch_execute("ROLLBACK").await.unwrap();
    until(&m.s.db, NOTHING_IS_CLAIMED).await;
}
