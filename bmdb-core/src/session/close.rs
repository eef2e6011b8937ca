//! Closing a session: cancels the work it still holds, and removes it.

use crate::db::config::HistoryDetail;
use crate::db::database::Database;
use crate::error::TxError;
use crate::session::attempt_end::{EndOutcome, MOST};
use crate::session::heartbeat::Registry;
use crate::session::lease::Lease;
use crate::telemetry::attempt_counts::AttemptCounts;
use bmdb_model::SessionId;
use bmdb_model::history::Outcome;
use bmdb_model::internal;
use bmdb_model::internal::work::{self, Attempt, Cancel, Ended};
use diesel_async::AsyncPgConnection;

/// Gives a session up, even if there are other handles of it: its heartbeat stops, and `lost()` of all
/// work under it resolves.
pub(crate) fn give_up(lease: &Lease, registry: &Registry) {
    registry.remove(lease.session);
    lease.lose();
}

/// Closes a session. Tries for as long as its lease would have lasted.
pub(crate) async fn close(
    database: &Database,
    lease: &Lease,
    registry: &Registry,
    attempt_counts: &AttemptCounts,
    history: HistoryDetail,
) -> Result<(), TxError> {
    give_up(lease, registry);
    let id = lease.session;
    let body = async |conn: &mut AsyncPgConnection| remove(conn, id, history).await;
    let deadline = database.closing_deadline(lease.valid_until());
    let closed = database.transaction_by(lease.terms.interval(), deadline, &body);
    let closed = closed.await;
    if matches!(closed, Ok(_) | Err(TxError::SessionExpired)) {
        lease.mark_closed();
    }
    for attempt in closed? {
        EndOutcome::ended(attempt_counts, &attempt.process, Outcome::Canceled, None);
    }
    Ok(())
}

/// Locks the session's row first, so that no claim or end of the session can be under way. Returns the
/// work that was still claimed.
async fn remove(
    conn: &mut AsyncPgConnection,
    id: SessionId,
    history: HistoryDetail,
) -> Result<Vec<Attempt>, TxError> {
    let cancel = Cancel {
        fold: history.folds(),
        ..Cancel::default()
    };
    if !internal::session::lock(conn, id).await? {
        return Err(TxError::SessionExpired);
    }
    let claimed = work::attempts_of(conn, id).await?;
    for group in claimed.chunks(MOST) {
        let canceled: Vec<_> = group.iter().map(|a| (a, cancel)).collect();
        let ended = work::cancel_all(conn, id, &canceled).await?;
        if ended.iter().any(|ended| *ended != Ended::Done(())) {
            return Err(TxError::SessionExpired);
        }
    }
    internal::session::delete(conn, &[id]).await?;
    Ok(claimed)
}
