//! The janitor: frees the work of sessions that have expired.

use crate::error::TxError;
use crate::heartbeat::Registry;
use crate::pool::Pool;
use crate::retry::jittered;
use crate::transaction::run_unfenced;
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_model::loss::{self, LostAttempt, LostItem};
use bmdb_model::{SessionId, session};
use diesel_async::AsyncPgConnection;
use std::sync::Arc;
use std::time::Duration;

/// How many expired sessions one transaction deals with.
const BATCH: i64 = 20;

/// For how long a batch that lost against concurrent transactions is tried again.
const RETRY_FOR: Duration = Duration::from_secs(5);

/// How the delay after consecutive losses grows.
const LOSS_FACTOR: Factor = Factor::from_int(2);

/// What a turn of the janitor found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Losses {
    /// The sessions that had expired and are gone now.
    pub sessions: Vec<SessionId>,
    /// The attempts they left behind, recorded as expired.
    pub attempts: Vec<LostAttempt>,
}

/// Takes turns until it is aborted. Many janitors do not hurt: they skip what others have locked.
pub(crate) async fn run(pool: Pool, registry: Arc<Registry>, interval: Duration) {
    let entropy = uuid::Uuid::new_v4().as_u128();
    for turn in 0.. {
        tokio::time::sleep(jittered(interval, bmdb_backoff::mix(entropy, turn))).await;
        // Who cannot keep its own sessions alive is no judge of others.
        if !registry.is_healthy() {
            continue;
        }
        match free_lost_work(&pool).await {
            Ok(losses) => {
                for lost in &losses.attempts {
                    tracing::info!(machine = %lost.machine, process = %lost.process, session = %lost.session, "freed lost work");
                }
            }
            Err(error) => tracing::warn!(%error, "the janitor could not take its turn"),
        }
    }
}

/// Frees the work of all sessions that have expired, in bounded batches.
pub(crate) async fn free_lost_work(pool: &Pool) -> Result<Losses, TxError> {
    let mut all = Losses::default();
    loop {
        let free = async |conn: &mut AsyncPgConnection| Ok(free_batch(conn).await?);
        let batch = run_unfenced(pool, RETRY_FOR, &free).await?;
        if batch.sessions.is_empty() {
            return Ok(all);
        }
        all.sessions.extend(batch.sessions);
        all.attempts.extend(batch.attempts);
    }
}

/// One transaction in several statements, on purpose: the sessions are locked by the first, and the
/// items are read by a later one, whose snapshot has every claim that committed before the lock. As
/// a single statement it freed work without a trace.
async fn free_batch(conn: &mut AsyncPgConnection) -> Result<Losses, bmdb_model::Error> {
    let sessions = session::lock_expired(conn, BATCH).await?;
    if sessions.is_empty() {
        return Ok(Losses::default());
    }
    let items = loss::lock_items(conn, &sessions).await?;
    let mut attempts = Vec::new();
    if !items.is_empty() {
        let items: Vec<(LostItem, i64)> = items
            .into_iter()
            .map(|item| {
                let delay = loss_delay(&item);
                (item, delay.get().into())
            })
            .collect();
        attempts = loss::expire(conn, &items, &sessions).await?;
    }
    session::delete(conn, &sessions).await?;
    Ok(Losses { sessions, attempts })
}

/// How long a machine rests after its work was lost: longer with every loss in a row.
fn loss_delay(item: &LostItem) -> Seconds {
    let initial = Seconds::from_db(item.loss_initial_seconds);
    let maximum = Seconds::from_db(item.loss_maximum_seconds);
    let Ok(delays) = Backoff::try_exponential(initial, maximum, LOSS_FACTOR) else {
        return initial;
    };
    let losses = usize::try_from(item.losses).unwrap_or(usize::MAX);
    // Doubling reaches any maximum within 31 steps.
    delays.schedule().nth(losses.min(31)).unwrap_or(maximum)
}
