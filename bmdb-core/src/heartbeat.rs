//! The heartbeat: one statement for all sessions of this program, on a connection of its own.

use crate::connect::Target;
use crate::lease::{Lease, SessionState};
use crate::retry::jittered;
use bmdb_model::{SessionId, session};
use diesel_async::AsyncPgConnection;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A session is kept alive by a beat every third of its interval: two may fail.
const BEATS_PER_INTERVAL: u32 = 3;

/// The least time in which an answer is expected.
const SHORTEST_LIMIT: Duration = Duration::from_millis(100);

/// The sessions to be kept alive.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    leases: Mutex<HashMap<SessionId, Arc<Lease>>>,
    changed: Notify,
}

impl Registry {
    pub(crate) fn add(&self, lease: Arc<Lease>) {
        self.lock().insert(lease.session, lease);
        self.changed.notify_one();
    }

    pub(crate) fn remove(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    /// Whether no session of this program has a failed heartbeat behind it.
    pub(crate) fn is_healthy(&self) -> bool {
        self.lock()
            .values()
            .all(|lease| lease.state() == SessionState::Live)
    }

    /// Every session that has not been closed.
    pub(crate) fn all(&self) -> Vec<Arc<Lease>> {
        self.lock().values().cloned().collect()
    }

    /// The sessions still worth a beat; those that are lost are dropped.
    fn current(&self) -> Vec<Arc<Lease>> {
        let mut leases = self.lock();
        leases.retain(|_, lease| lease.state() != SessionState::Lost);
        leases.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Lease>>> {
        // Nothing panics while it is held.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Beats for as long as the registry's owners live, at first on a connection that is there already.
pub(crate) async fn keep_alive(target: Target, first: AsyncPgConnection, registry: Arc<Registry>) {
    let mut conn = Some(first);
    let entropy = uuid::Uuid::new_v4().as_u128();
    for beat in 0.. {
        let leases = registry.current();
        let Some(shortest) = leases.iter().map(|lease| lease.interval).min() else {
            registry.changed.notified().await;
            continue;
        };
        let period = shortest / BEATS_PER_INTERVAL;
        let began = Instant::now();
        let pause = match beat_once(&target, &mut conn, &leases, period).await {
            Ok(()) => period.saturating_sub(began.elapsed()),
            Err(reason) => {
                conn = None;
                for lease in &leases {
                    lease.beat_failed();
                }
                tracing::warn!(%reason, "heartbeat failed");
                period / 4
            }
        };
        // Between nine tenths and the whole, so that programs started together drift apart.
        let jitter = jittered(pause / 10, bmdb_backoff::mix(entropy, beat));
        tokio::select! {
            () = tokio::time::sleep(pause - jitter) => {}
            () = registry.changed.notified() => {}
        }
    }
}

/// A statement must be answered within a period, for there are others to be sent. Connecting takes
/// several round trips and may use all the time that is left: a limit as short as a statement's could
/// keep a slow link from ever being connected again.
async fn beat_once(
    target: &Target,
    slot: &mut Option<AsyncPgConnection>,
    leases: &[Arc<Lease>],
    period: Duration,
) -> Result<(), String> {
    if slot.is_none() {
        let until = leases.iter().map(|lease| lease.trusted_until()).max();
        let until = until.unwrap_or_else(Instant::now);
        let connected = tokio::time::timeout_at(until, target.connect()).await;
        let (conn, _) = connected
            .map_err(|_| "not connected before the lease ran out".to_owned())?
            .map_err(|error| error.to_string())?;
        *slot = Some(conn);
    }
    let Some(conn) = slot.as_mut() else {
        return Ok(());
    };
    let ids: Vec<SessionId> = leases.iter().map(|lease| lease.session).collect();
    let sent = Instant::now();
    let limit = period.max(SHORTEST_LIMIT);
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
