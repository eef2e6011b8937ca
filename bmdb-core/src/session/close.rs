//! Closing a session: giving back what it holds, and removing it.

use crate::db::deadline::Patience;
use crate::db::pool::Pool;
use crate::db::retry::Retry;
use crate::db::transaction::run_unfenced_by;
use crate::error::TxError;
use crate::session::heartbeat::Registry;
use crate::session::lease::Lease;
use crate::telemetry::attempt_counts::Tally;
use crate::work::attempt_end::{EndOutcome, MOST};
use bmdb_model::SessionId;
use bmdb_model::history::Outcome;
use bmdb_model::internal::session;
use bmdb_model::internal::work::{self, Attempt, Ended, Release};
use diesel_async::AsyncPgConnection;

/// Gives a session up, whoever still has a handle of it: it beats no more, and all who hold work of it
/// are told.
pub(crate) fn give_up(lease: &Lease, registry: &Registry) {
    registry.remove(lease.session);
    lease.lose();
}

/// Closes a session, for as long as its lease would have lasted.
pub(crate) async fn close(
    pool: &Pool,
    lease: &Lease,
    registry: &Registry,
    tally: &Tally,
) -> Result<(), TxError> {
    give_up(lease, registry);
    let id = lease.session;
    let body = async |conn: &mut AsyncPgConnection| remove(conn, id).await;
    let retry = Retry::new(lease.terms.interval(), Patience::of_closing(pool, lease));
    let closed = run_unfenced_by(pool, retry, &body).await;
    if matches!(closed, Ok(_) | Err(TxError::SessionExpired)) {
        lease.mark_closed();
    }
    for attempt in closed? {
        EndOutcome::ended(tally, &attempt.process, Outcome::Canceled, None);
    }
    Ok(())
}

/// The session's row is locked first, so that no claim or end of it can be under way. Returns what was
/// still held.
async fn remove(conn: &mut AsyncPgConnection, id: SessionId) -> Result<Vec<Attempt>, TxError> {
    if !session::lock(conn, id).await? {
        return Err(TxError::SessionExpired);
    }
    let held = work::attempts_of(conn, id).await?;
    for group in held.chunks(MOST) {
        let releases: Vec<_> = group.iter().map(|a| (a, Release::Canceled)).collect();
        let ended = work::release_all(conn, id, &releases).await?;
        if ended.iter().any(|ended| *ended != Ended::Done(())) {
            return Err(TxError::SessionExpired);
        }
    }
    session::delete(conn, &[id]).await?;
    Ok(held)
}
