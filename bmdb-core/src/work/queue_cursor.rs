//! Queue cursor: where in a queue a session's next claim begins to read.
//!
//! Claimed items stay in the queue's index until vacuum may remove them, and a long-running reader anywhere on
//! the server prevents that. Every claim would then step over all of them for as long as the reader reads. A
//! session that has just claimed in order need not read that part again.

use crate::lock::lock;
use bmdb_model::{Process, Provider};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// For how long a claim may miss an item before the cursor: one that was canceled, committed late, or moved
/// back by a plan. Work takes seconds and leases last five, so two do not matter; and one scan in two seconds
/// that steps over a million dead entries (0.1 s) is still cheap.
pub(crate) const RESET: Duration = Duration::from_secs(2);

/// How many claims between two resets read the whole queue. A session that claims less often than this never
/// misses an item, and does not need the cursor; for a session that claims a thousand times a second, 16
/// scans cost nothing.
const WHOLE_SCANS: u32 = 16;

/// A queue, as a claim names it.
type Queue = (Process, Option<Provider>);

/// A session's cursors, one for each pair of process and provider that it claims. They are hints and never
/// decide what may be claimed.
#[derive(Default)]
pub(crate) struct QueueCursors {
    queues: Mutex<HashMap<Queue, Position>>,
}

/// How far a session has come in a queue since the last reset.
struct Position {
    since: Instant,
    /// How many claims have read the whole queue.
    whole_scans: u32,
    cursor: Option<DateTime<Utc>>,
}

impl Position {
    fn at(since: Instant) -> Self {
        Self {
            since,
            whole_scans: 0,
            cursor: None,
        }
    }
}

impl QueueCursors {
    /// Where a claim made `now` begins to read; `None` means the beginning of the queue.
    ///
    /// An empty claim changes nothing: under a long-running reader, the polls of a queue that has run dry
    /// are exactly those that must not read all of it.
    pub(crate) fn get(
        &self,
        process: &Process,
        provider: Option<&Provider>,
        now: Instant,
    ) -> Option<DateTime<Utc>> {
        let mut queues = lock(&self.queues);
        let queue = (process.clone(), provider.cloned());
        let at = queues.entry(queue).or_insert_with(|| Position::at(now));
        if now.saturating_duration_since(at.since) >= RESET {
            *at = Position::at(now);
        }
        if at.whole_scans < WHOLE_SCANS {
            at.whole_scans += 1;
            return None;
        }
        at.cursor
    }

    /// Notes that a claim has taken the items that were ready up to `latest`. Concurrent claims are answered
    /// in any order, so the cursor only moves forward.
    pub(crate) fn advance(
        &self,
        process: &Process,
        provider: Option<&Provider>,
        latest: Option<DateTime<Utc>>,
    ) {
        let queue = (process.clone(), provider.cloned());
        if let Some(at) = lock(&self.queues).get_mut(&queue) {
            at.cursor = at.cursor.max(latest);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::{Bmdb, Claim, Config, Session, SessionOptions, Work};
    use bmdb_model::{MachineId, Provided};
    use bmdb_testkit::TestDb;

    const START: Process = Process::SHEPHERD_AGENT_START;
    const EQUINIX: Provider = Provider::EQUINIX;

    impl QueueCursors {
        /// Makes the last resets appear this much longer ago.
        fn let_pass(&self, time: Duration) {
            for position in lock(&self.queues).values_mut() {
                position.since = position.since.checked_sub(time).unwrap();
            }
        }
    }

    fn minute(minute: u32) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(i64::from(minute) * 60, 0)
    }

    #[test]
    fn the_first_claims_after_a_reset_read_the_whole_queue_and_later_ones_from_the_cursor_on() {
        let (cursors, start) = (QueueCursors::default(), Instant::now());
        let cursor = |at| cursors.get(&START, Some(&EQUINIX), at);
        for _ in 0..2 {
            for _ in 0..WHOLE_SCANS {
                assert_eq!(cursor(start), None);
                cursors.advance(&START, Some(&EQUINIX), minute(5));
            }
            for latest in [None, minute(4), minute(5)] {
                cursors.advance(&START, Some(&EQUINIX), latest);
                assert_eq!(cursor(start), minute(5), "after {latest:?}");
            }
            cursors.advance(&START, Some(&EQUINIX), minute(6));
            assert_eq!(cursor(start + RESET - Duration::from_nanos(1)), minute(6));
            cursors.let_pass(RESET);
        }
        assert_eq!(cursor(start), None);
    }

    #[test]
    fn every_queue_has_a_cursor_of_its_own() {
        let (cursors, now) = (QueueCursors::default(), Instant::now());
        let queues = [(START, Some(&EQUINIX)), (START, None)];
        for (process, provider) in &queues {
            for _ in 0..WHOLE_SCANS {
                cursors.get(process, *provider, now);
            }
        }
        cursors.advance(&START, Some(&EQUINIX), minute(5));
        assert_eq!(cursors.get(&START, None, now), None);
        assert_eq!(cursors.get(&START, Some(&EQUINIX), now), minute(5));
    }

    /// A session whose next claim starts at the cursor, and two machines.
    async fn busy() -> (TestDb, Bmdb, Session, [MachineId; 2]) {
        let db = TestDb::new().await.unwrap();
        let config = Config::new(db.url()).janitor_interval(None);
        let bmdb = Bmdb::connect(config).await.unwrap();
        let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
        let mut machines = Vec::new();
        for id in ["first", "second"] {
            let made = session.transact(async |tx| {
                let machine = tx.create_machine().await?;
                tx.set_provided(machine, &Provided::new(EQUINIX, id))
                    .await?;
                Ok(machine)
            });
            machines.push(made.await.unwrap());
        }
        for _ in 0..WHOLE_SCANS {
            claim(&session, 0).await;
        }
        (db, bmdb, session, [machines[0], machines[1]])
    }

    async fn claim(session: &Session, limit: u32) -> Vec<Work> {
        let claim = Claim::of(&START).provider(&EQUINIX).limit(limit);
        session.claim(&claim).await.unwrap()
    }

    #[tokio::test]
    async fn a_machine_canceled_before_the_cursor_is_claimed_again_after_a_reset() {
        let (_db, _bmdb, session, [first, second]) = busy().await;
        let mut claimed = claim(&session, 2).await;
        claimed.sort_by_key(|work| work.machine() == second);
        let second = claimed.pop().unwrap();
        let canceled = claimed.pop().unwrap();
        assert_eq!(canceled.machine(), first);
        canceled.cancel().await.unwrap();
        assert!(
            claim(&session, 2).await.is_empty(),
            "it is before the cursor"
        );

        session.inner.cursors.let_pass(RESET);
        let again = claim(&session, 2).await.pop().unwrap();
        assert_eq!(again.machine(), first);
        again.complete().await.unwrap();
        second.complete().await.unwrap();
    }

    #[tokio::test]
    async fn a_machine_canceled_at_the_cursor_is_claimed_again_at_once() {
        let (_db, _bmdb, session, [first, _]) = busy().await;
        for _ in 0..2 {
            let work = claim(&session, 1).await.pop().unwrap();
            assert_eq!(work.machine(), first);
            work.cancel().await.unwrap();
        }
    }
}
