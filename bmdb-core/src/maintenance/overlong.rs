//! Overlong leases: ends those that the database's clock keeps alive after it was set back.
//!
//! By that clock the lease of a worker that has died would last for as long as the clock was set back, and its
//! machines would be claimed as long. So the janitor waits out the lease by its own monotonic clock: a worker that
//! lives sends a heartbeat in that time, which moves the deadline.

use crate::db::database::Database;
use crate::error::TxError;
use crate::lock::lock;
use bmdb_model::SessionId;
use bmdb_model::internal::overlong::{self, OverlongLease};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// The overlong leases that this program has seen. Each janitor counts by itself, and one that is started again
/// counts from its start: a time that was stored would be the database's.
#[derive(Debug, Default)]
pub(crate) struct OverlongLeases {
    seen: Mutex<HashMap<SessionId, Sighting>>,
}

#[derive(Debug)]
struct Sighting {
    deadline: String,
    /// When the answer with this deadline had arrived first.
    since: Instant,
}

impl OverlongLeases {
    /// Looks at the overlong leases, and ends those that have not changed for their interval; returns
    /// whether there were any.
    ///
    /// Their sessions have expired then like any other: an operation under way still commits, and none begins.
    pub(crate) async fn end_unchanged(&self, database: &Database) -> Result<bool, TxError> {
        let leases = database.run(async |conn| Ok(overlong::all(conn).await?));
        let leases = leases.await?;
        let mut ended = false;
        for lease in self.unchanged(leases, Instant::now()) {
            let end = database.run(async |conn| Ok(overlong::end(conn, &lease).await?));
            if end.await? {
                ended = true;
                tracing::warn!(
                    session = %lease.session,
                    deadline = %lease.deadline,
                    "the database's clock was set back: ended a lease without heartbeats for {} s by this program's clock",
                    lease.interval_seconds
                );
            }
        }
        Ok(ended)
    }

    /// Notes these leases, and returns those that were noted with the same deadline an interval ago or earlier.
    /// Leases that are not among them are forgotten.
    fn unchanged(&self, leases: Vec<OverlongLease>, now: Instant) -> Vec<OverlongLease> {
        let mut seen = lock(&self.seen);
        let mut before = std::mem::take(&mut *seen);
        let mut unchanged = Vec::new();
        for lease in leases {
            let sighting = match before.remove(&lease.session) {
                Some(sighting) if sighting.deadline == lease.deadline => sighting,
                _ => {
                    tracing::warn!(
                        session = %lease.session,
                        deadline = %lease.deadline,
                        "the database's clock was set back: a lease of {} s ends later than it can",
                        lease.interval_seconds
                    );
                    Sighting {
                        deadline: lease.deadline.clone(),
                        since: now,
                    }
                }
            };
            let interval = u64::try_from(lease.interval_seconds).unwrap_or(u64::MAX);
            let is_over = now - sighting.since >= Duration::from_secs(interval);
            seen.insert(lease.session, sighting);
            if is_over {
                unchanged.push(lease);
            }
        }
        unchanged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_unchanged_once_its_interval_has_passed_with_the_same_deadline() {
        let (leases, start) = (OverlongLeases::default(), Instant::now());
        let session = SessionId::random();
        let lease = |deadline: &str| OverlongLease {
            session,
            deadline: deadline.to_owned(),
            interval_seconds: 5,
        };
        let look = |deadline, second| {
            let now = start + Duration::from_secs(second);
            leases.unchanged(vec![lease(deadline)], now).len()
        };
        assert_eq!(look("later", 0), 0);
        assert_eq!(look("later", 4), 0);
        // A heartbeat, by a clock that is still odd.
        assert_eq!(look("later still", 5), 0);
        assert_eq!(look("later still", 9), 0);
        assert_eq!(look("later still", 10), 1);
        // And in the next turn, if the database did not answer.
        assert_eq!(look("later still", 11), 1);
        // One that was plausible in between.
        assert!(
            leases
                .unchanged(vec![], start + Duration::from_secs(12))
                .is_empty()
        );
        assert_eq!(look("later still", 13), 0);
    }
}
