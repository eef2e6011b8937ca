//! Reclaimed: the work of sessions that have expired is freed, in bounded batches.

use crate::db::pool::Pool;
use crate::db::transaction::run_unfenced;
use crate::error::TxError;
use crate::telemetry::attempt_counts::Tally;
use crate::work::attempt_end::EndOutcome;
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_model::SessionId;
use bmdb_model::history::Outcome;
use bmdb_model::internal::{reclaim, session};
use bmdb_model::reclaim::{LostAttempt, LostItem};
use diesel_async::AsyncPgConnection;
use std::time::Duration;

/// How many expired sessions one transaction deals with.
const SESSIONS: i64 = 20;

/// How many of their works one transaction frees. Freeing locks them all until it commits, and a
/// session may hold thousands.
const WORKS: i64 = 500;

/// For how long a batch that lost against concurrent transactions is tried again.
const RETRY_FOR: Duration = Duration::from_secs(5);

/// How the delay after consecutive losses grows.
const LOSS_FACTOR: Factor = Factor::from_int(2);

/// The work that was freed because its sessions had expired.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// The sessions that had expired and are gone now.
    pub sessions: Vec<SessionId>,
    /// The attempts they left behind, recorded as expired.
    pub attempts: Vec<LostAttempt>,
}

/// What one transaction came to.
#[derive(Default)]
struct Batch {
    losses: Reclaimed,
    /// Whether the sessions that were locked hold more.
    is_more: bool,
}

/// Frees the work of all sessions that have expired, in bounded batches.
pub(crate) async fn free(pool: &Pool, tally: &Tally) -> Result<Reclaimed, TxError> {
    let mut all = Reclaimed::default();
    loop {
        let free = async |conn: &mut AsyncPgConnection| Ok(free_batch(conn).await?);
        let Batch { losses, is_more } = run_unfenced(pool, RETRY_FOR, &free).await?;
        let is_last = losses.sessions.is_empty() && !is_more;
        for lost in &losses.attempts {
            EndOutcome::ended(tally, &lost.process, Outcome::Expired, None);
        }
        all.sessions.extend(losses.sessions);
        all.attempts.extend(losses.attempts);
        if is_last {
            return Ok(all);
        }
    }
}

/// One transaction in several statements, on purpose: the sessions are locked by the first, and the
/// items are read by a later one, whose snapshot has every claim that committed before the lock. As
/// a single statement it freed work without a trace.
///
/// Sessions that hold more than a batch takes stay for the next one, which is as good: their deadline
/// has passed, so no heartbeat, claim or end of theirs begins any more, those under way have kept the
/// sessions from being locked, and those that came just before it and wait for the lock judge it again.
async fn free_batch(conn: &mut AsyncPgConnection) -> Result<Batch, bmdb_model::Error> {
    let sessions = session::lock_expired(conn, SESSIONS).await?;
    if sessions.is_empty() {
        return Ok(Batch::default());
    }
    let items = reclaim::lock_items(conn, &sessions, WORKS).await?;
    let is_more = i64::try_from(items.len()).is_ok_and(|items| items >= WORKS);
    let mut attempts = Vec::new();
    if !items.is_empty() {
        let items: Vec<(LostItem, i64)> = items
            .into_iter()
            .map(|item| {
                let delay = delay(&item);
                (item, delay.get().into())
            })
            .collect();
        attempts = reclaim::expire(conn, &items, &sessions).await?;
    }
    let gone = if is_more {
        session::keep(conn, &sessions).await?;
        Vec::new()
    } else {
        session::delete(conn, &sessions).await?;
        sessions
    };
    Ok(Batch {
        losses: Reclaimed {
            sessions: gone,
            attempts,
        },
        is_more,
    })
}

/// How long a machine rests after its work was lost: longer with every loss in a row.
pub(crate) fn delay(item: &LostItem) -> Seconds {
    let initial = Seconds::from_db(item.loss_initial_seconds);
    let maximum = Seconds::from_db(item.loss_maximum_seconds);
    let Ok(delays) = Backoff::try_exponential(initial, maximum, LOSS_FACTOR) else {
        return initial;
    };
    let losses = usize::try_from(item.losses).unwrap_or(usize::MAX);
    // Doubling reaches any maximum within 31 steps.
    delays.schedule().nth(losses.min(31)).unwrap_or(maximum)
}
