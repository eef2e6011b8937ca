//! Reclaiming: frees the work of expired sessions, in bounded batches.

use crate::db::database::Database;
use crate::error::TxError;
use crate::session::attempt_end::EndOutcome;
use crate::telemetry::attempt_counts::AttemptCounts;
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_model::SessionId;
use bmdb_model::history::Outcome;
use bmdb_model::internal;
use bmdb_model::reclaim::{LostAttempt, LostItem};
use diesel_async::AsyncPgConnection;
use std::time::Duration;

/// How many expired sessions one transaction handles.
const SESSIONS: i64 = 20;

/// How many of their attempts one transaction ends. It locks all of them until it commits, and a session
/// may hold thousands.
const ATTEMPTS: i64 = 500;

/// For how long a batch that lost against concurrent transactions is retried.
const RETRY_FOR: Duration = Duration::from_secs(5);

/// How the delay grows with consecutive losses.
const LOSS_FACTOR: Factor = Factor::from_int(2);

/// The work that was freed because its sessions had expired.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Reclaimed {
    /// The expired sessions that were removed.
    pub sessions: Vec<SessionId>,
    /// Their attempts, recorded as expired.
    pub attempts: Vec<LostAttempt>,
}

/// The result of one transaction.
#[derive(Default)]
struct Batch {
    reclaimed: Reclaimed,
    /// Whether the locked sessions hold more.
    is_more: bool,
}

/// Frees the work of all expired sessions.
pub(crate) async fn reclaim(
    database: &Database,
    attempt_counts: &AttemptCounts,
) -> Result<Reclaimed, TxError> {
    let mut all = Reclaimed::default();
    loop {
        let batch = async |conn: &mut AsyncPgConnection| Ok(reclaim_batch(conn).await?);
        let batch = database.transaction_by(RETRY_FOR, database.deadline(), &batch);
        let Batch { reclaimed, is_more } = batch.await?;
        let is_last = reclaimed.sessions.is_empty() && !is_more;
        for lost in &reclaimed.attempts {
            EndOutcome::ended(attempt_counts, &lost.process, Outcome::Expired, None);
        }
        all.sessions.extend(reclaimed.sessions);
        all.attempts.extend(reclaimed.attempts);
        if is_last {
            return Ok(all);
        }
    }
}

/// One transaction of several statements: the first locks the sessions, and a later one reads the items, so
/// its snapshot has every claim that committed before the lock. A single statement would free work without
/// a record.
///
/// Sessions that hold more than a batch stay for the next one. That is safe: their deadline has passed, so
/// none of their heartbeats, claims and ends begins any more; those under way have kept the sessions from
/// being locked; and those that wait for the lock check the deadline again.
async fn reclaim_batch(conn: &mut AsyncPgConnection) -> Result<Batch, bmdb_model::Error> {
    let sessions = internal::session::lock_expired(conn, SESSIONS).await?;
    if sessions.is_empty() {
        return Ok(Batch::default());
    }
    let items = internal::reclaim::lock_items(conn, &sessions, ATTEMPTS).await?;
    let is_more = i64::try_from(items.len()).is_ok_and(|items| items >= ATTEMPTS);
    let mut attempts = Vec::new();
    if !items.is_empty() {
        let items: Vec<(LostItem, i64)> = items
            .into_iter()
            .map(|item| {
                let delay = delay(&item);
                (item, delay.get().into())
            })
            .collect();
        attempts = internal::reclaim::expire(conn, &items, &sessions).await?;
    }
    let removed = if is_more {
        internal::session::keep(conn, &sessions).await?;
        Vec::new()
    } else {
        internal::session::delete(conn, &sessions).await?;
        sessions
    };
    Ok(Batch {
        reclaimed: Reclaimed {
            sessions: removed,
            attempts,
        },
        is_more,
    })
}

/// How long a machine rests after its work was lost: longer with every consecutive loss.
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
