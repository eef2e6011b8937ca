//! Where in a queue a session's next claim begins to look.
//!
//! What was claimed stays in the queue's index until vacuum may remove it, and a long-running reader
//! anywhere on the server forbids that. Every claim would step over all of it, for as long as the
//! reader reads. Whoever has just claimed in order need not look there.

use bmdb_model::{Process, Provider};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long at most something below the floor is overlooked: canceled, committed late, moved back
/// by a plan. Work is made of seconds, leases of five, so two are not noticed; and one search in two
/// seconds that steps over a million dead entries (0.1 s) is still cheap.
pub(crate) const RESET: Duration = Duration::from_secs(2);

/// How many claims between two resets look at the whole queue. A session that claims less often than
/// this overlooks nothing ever, and need not save either; for one that claims a thousand times a
/// second they are nothing.
const WHOLE: u32 = 16;

/// A queue, as a claim names it.
type Queue = (Process, Option<Provider>);

/// A session's floors, one for each of its queues, of which there are as many as pairs of process and
/// provider that it claims of: hints, which never decide what may be claimed.
#[derive(Default)]
pub(crate) struct Floors {
    queues: Mutex<HashMap<Queue, Position>>,
}

/// How far a session has come in a queue since the last reset.
struct Position {
    since: Instant,
    /// How many claims have looked at the whole queue.
    whole: u32,
    floor: Option<DateTime<Utc>>,
}

impl Position {
    fn at(since: Instant) -> Self {
        Self {
            since,
            whole: 0,
            floor: None,
        }
    }
}

impl Floors {
    /// Where a claim that is made `now` begins to look; `None` is the beginning of the queue.
    ///
    /// An empty answer changes nothing: under a long-running reader the polls of a queue that has
    /// run dry are just those that must not go through all of it.
    pub(crate) fn floor(
        &self,
        process: &Process,
        provider: Option<&Provider>,
        now: Instant,
    ) -> Option<DateTime<Utc>> {
        let mut queues = self.queues();
        let queue = (process.clone(), provider.cloned());
        let at = queues.entry(queue).or_insert_with(|| Position::at(now));
        if now.saturating_duration_since(at.since) >= RESET {
            *at = Position::at(now);
        }
        if at.whole < WHOLE {
            at.whole += 1;
            return None;
        }
        at.floor
    }

    /// A claim has got what was ready up to `latest`. Claims that run side by side are answered in
    /// any order, so the floor only rises.
    pub(crate) fn raise(
        &self,
        process: &Process,
        provider: Option<&Provider>,
        latest: Option<DateTime<Utc>>,
    ) {
        let queue = (process.clone(), provider.cloned());
        if let Some(at) = self.queues().get_mut(&queue) {
            at.floor = at.floor.max(latest);
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Queue, Position>> {
        // Nothing panics while it is held.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
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

    impl Floors {
        /// As if the last resets had been this much longer ago.
        fn let_pass(&self, time: Duration) {
            for position in self.queues().values_mut() {
                position.since = position.since.checked_sub(time).unwrap();
            }
        }
    }

    fn minute(minute: u32) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(i64::from(minute) * 60, 0)
    }

    #[test]
    fn the_first_claims_after_a_reset_look_at_the_whole_queue_and_later_ones_above_the_floor() {
        let (floors, start) = (Floors::default(), Instant::now());
        let floor = |at| floors.floor(&START, Some(&EQUINIX), at);
        for _ in 0..2 {
            for _ in 0..WHOLE {
                assert_eq!(floor(start), None);
                floors.raise(&START, Some(&EQUINIX), minute(5));
            }
            for latest in [None, minute(4), minute(5)] {
                floors.raise(&START, Some(&EQUINIX), latest);
                assert_eq!(floor(start), minute(5), "after {latest:?}");
            }
            floors.raise(&START, Some(&EQUINIX), minute(6));
            assert_eq!(floor(start + RESET - Duration::from_nanos(1)), minute(6));
            floors.let_pass(RESET);
        }
        assert_eq!(floor(start), None);
    }

    #[test]
    fn every_queue_has_a_floor_of_its_own() {
        let (floors, now) = (Floors::default(), Instant::now());
        let queues = [(START, Some(&EQUINIX)), (START, None)];
        for (process, provider) in &queues {
            for _ in 0..WHOLE {
                floors.floor(process, *provider, now);
            }
        }
        floors.raise(&START, Some(&EQUINIX), minute(5));
        assert_eq!(floors.floor(&START, None, now), None);
        assert_eq!(floors.floor(&START, Some(&EQUINIX), now), minute(5));
    }

    /// A session that has used up what it may look at the whole queue, and two machines.
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
        for _ in 0..WHOLE {
            claim(&session, 0).await;
        }
        (db, bmdb, session, [machines[0], machines[1]])
    }

    async fn claim(session: &Session, limit: u32) -> Vec<Work> {
        let claim = Claim::of(&START).provider(&EQUINIX).limit(limit);
        session.claim(&claim).await.unwrap()
    }

    #[tokio::test]
    async fn a_machine_canceled_below_the_floor_is_claimed_again_within_one_reset() {
        let (_db, _bmdb, session, [first, second]) = busy().await;
        let mut works = claim(&session, 2).await;
        works.sort_by_key(|work| work.machine() == second);
        let second = works.pop().unwrap();
        let canceled = works.pop().unwrap();
        assert_eq!(canceled.machine(), first);
        canceled.cancel().await.unwrap();
        assert!(claim(&session, 2).await.is_empty(), "it is below the floor");

        session.inner.floors.let_pass(RESET);
        let again = claim(&session, 2).await.pop().unwrap();
        assert_eq!(again.machine(), first);
        again.complete().await.unwrap();
        second.complete().await.unwrap();
    }

    #[tokio::test]
    async fn a_machine_canceled_at_the_floor_is_claimed_again_at_once() {
        let (_db, _bmdb, session, [first, _]) = busy().await;
        for _ in 0..2 {
            let work = claim(&session, 1).await.pop().unwrap();
            assert_eq!(work.machine(), first);
            work.cancel().await.unwrap();
        }
    }
}
