//! Heartbeat: one statement for all sessions of this program, on its own connection.

use crate::db::connect::Target;
use crate::db::lease_clock::LeaseInstant;
use crate::db::retry::{Delays, jittered};
use crate::lock::lock;
use crate::session::lease::{Lease, SessionState};
use crate::telemetry;
use bmdb_model::SessionId;
use bmdb_model::internal::session;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::PoolableConnection;
use metrics::Counter;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::Instrument;

/// How long the server works on a heartbeat at most, and how long its answer is awaited: a statement this
/// short that takes longer will not succeed later. The client may give up earlier, and the server soon
/// notices that it did.
pub(crate) const LONGEST_LIMIT: Duration = Duration::from_secs(5);

/// The upper limit of the first pause after a failed heartbeat, however long the lease.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The upper limit of later pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The shortest pause, however little of the lease is left.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// The sessions to keep alive.
#[derive(Debug)]
pub(crate) struct Registry {
    leases: Mutex<HashMap<SessionId, Arc<Lease>>>,
    changed: Notify,
    lost: Counter,
}

impl Registry {
    /// `lost` counts sessions that are lost, but not those that are closed.
    pub(crate) fn new(lost: Counter) -> Self {
        Self {
            leases: Mutex::default(),
            changed: Notify::new(),
            lost,
        }
    }

    pub(crate) fn add(&self, lease: Arc<Lease>) {
        lock(&self.leases).insert(lease.session, lease);
        self.changed.notify_one();
    }

    pub(crate) fn remove(&self, session: SessionId) {
        lock(&self.leases).remove(&session);
    }

    /// Whether every session of this program is live.
    pub(crate) fn is_healthy(&self) -> bool {
        lock(&self.leases)
            .values()
            .all(|lease| lease.state() == SessionState::Live)
    }

    /// Every session that is neither closed nor dropped as lost.
    pub(crate) fn all(&self) -> Vec<Arc<Lease>> {
        lock(&self.leases).values().cloned().collect()
    }

    /// How long ago the last answered heartbeat was sent, of the session for which that is longest.
    pub(crate) fn oldest_confirmation(&self) -> Option<Duration> {
        lock(&self.leases)
            .values()
            .map(|lease| lease.unconfirmed_for())
            .max()
    }

    /// The sessions to send a heartbeat for; drops those that are lost.
    fn current(&self) -> Vec<Arc<Lease>> {
        let mut leases = lock(&self.leases);
        leases.retain(|_, lease| {
            let is_lost = lease.state() == SessionState::Lost;
            self.lost.increment(u64::from(is_lost));
            !is_lost
        });
        leases.values().cloned().collect()
    }
}

/// Sends heartbeats until it is aborted, at first on the given connection.
pub(crate) async fn keep_alive(target: Target, first: AsyncPgConnection, registry: Arc<Registry>) {
    let mut conn = Some(first);
    let mut failing: Option<Delays> = None;
    let entropy = uuid::Uuid::new_v4().as_u128();
    for beat in 0.. {
        let leases = registry.current();
        let Some(period) = leases.iter().map(|lease| lease.terms.beat()).min() else {
            registry.changed.notified().await;
            continue;
        };
        let began = LeaseInstant::now();
        let beating = beat_once(&target, &mut conn, &leases, period);
        let span = telemetry::heartbeat(leases.len());
        let pause = match beating.instrument(span).await {
            Ok(()) => {
                failing = None;
                let pause = period.saturating_sub(began.elapsed());
                // Between nine tenths and the whole, so that programs started together drift apart.
                pause - jittered(pause / 10, bmdb_backoff::mix(entropy, beat))
            }
            Err(reason) => {
                conn = None;
                for lease in &leases {
                    lease.beat_failed();
                }
                let delays = failing.get_or_insert_with(|| delays(period));
                let pause = pause_between(delays, &leases);
                tracing::warn!(%reason, ?pause, "heartbeat failed");
                pause
            }
        };
        tokio::select! {
            // A computer that was asleep renews its leases as soon as it is awake.
            () = (LeaseInstant::now() + pause).reached() => {}
            () = registry.changed.notified() => {}
        }
    }
}

/// Programs that lost the same server must not all return to it at the same moments: from the first attempt
/// on, each waits for a random time, which grows with every failure.
fn delays(period: Duration) -> Delays {
    Delays::new((period / 4).min(FIRST_PAUSE), period.min(LONGEST_PAUSE))
}

/// At most half of the time until the first lease runs out, so that there is time for another attempt.
fn pause_between(delays: &mut Delays, leases: &[Arc<Lease>]) -> Duration {
    let left = leases
        .iter()
        .map(|lease| lease.valid_until().left())
        .filter(|left| !left.is_zero())
        .min();
    let most = left.map_or(Duration::ZERO, |left| delays.jittered(left / 2));
    delays.next().min(most).max(SHORTEST_PAUSE)
}

/// The statement must be answered within a period, because the next one is due then. Connecting takes
/// several round trips and may use all the time that is left: with a statement's limit, a slow link might
/// never be connected again.
async fn beat_once(
    target: &Target,
    slot: &mut Option<AsyncPgConnection>,
    leases: &[Arc<Lease>],
    period: Duration,
) -> Result<(), String> {
    // A connection lost since the last heartbeat, for example by a restart of the server, is not a failure yet.
    if slot.as_mut().is_some_and(PoolableConnection::is_broken) {
        *slot = None;
    }
    if slot.is_none() {
        let until = leases.iter().map(|lease| lease.valid_until()).max();
        let until = until.unwrap_or_else(LeaseInstant::now);
        let connected = target.connect_by(until.as_timer()).await;
        let (conn, _) = connected.map_err(|error| error.to_string())?;
        *slot = Some(conn);
    }
    let Some(conn) = slot.as_mut() else {
        return Ok(());
    };
    let ids: Vec<SessionId> = leases.iter().map(|lease| lease.session).collect();
    let sent = LeaseInstant::now();
    let limit = period.min(LONGEST_LIMIT);
    let alive = tokio::time::timeout(limit, session::heartbeat(conn, &ids))
        .await
        .map_err(|_| format!("no answer within {limit:?}"))?
        .map_err(|error| error.to_string())?;
    for lease in leases {
        if alive.contains(&lease.session) {
            lease.renew(sent);
        } else {
            tracing::warn!(session = %lease.session, "the session has expired");
            lease.lose();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::options::SessionOptions;

    fn lease(interval: u64) -> Arc<Lease> {
        let options = SessionOptions::default().interval(Duration::from_secs(interval));
        let terms = options.terms().unwrap();
        Arc::new(Lease::new(SessionId::random(), terms, LeaseInstant::now()))
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_jittered_from_the_first_on_and_become_rarer() {
        let leases = [lease(60)];
        let period = leases[0].terms.beat();
        let (mut firsts, mut tenths) = (Vec::new(), Vec::new());
        for _program in 0..50 {
            let mut delays = delays(period);
            let pauses: Vec<_> = (0..10)
                .map(|_| pause_between(&mut delays, &leases))
                .collect();
            firsts.push(pauses[0]);
            tenths.push(pauses[9]);
        }
        let (least, most) = (firsts.iter().min().unwrap(), firsts.iter().max().unwrap());
        assert!(*least >= FIRST_PAUSE / 10 && *most <= FIRST_PAUSE);
        assert!(*most > *least * 3, "in step: {least:?} to {most:?}");
        let longest = *tenths.iter().max().unwrap();
        assert!(longest > FIRST_PAUSE * 4, "{longest:?}");
        assert!(longest <= LONGEST_PAUSE, "{longest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_always_leaves_time_for_another_attempt() {
        let leases = [lease(5), lease(86_400)];
        let (mut delays, mut attempts) = (delays(leases[0].terms.beat()), 0);
        tokio::time::advance(Duration::from_secs(4)).await;
        while leases[0].state() != SessionState::Lost {
            let pause = pause_between(&mut delays, &leases);
            let left = leases[0].valid_until().left();
            assert!(
                pause <= (left / 2).max(SHORTEST_PAUSE),
                "{left:?}: {pause:?}"
            );
            tokio::time::advance(pause).await;
            attempts += 1;
        }
        assert!((3..60).contains(&attempts), "{attempts}");
        // A lease that has run out does not shorten the pauses of the other.
        assert!(pause_between(&mut delays, &leases) > SHORTEST_PAUSE);
    }
}
