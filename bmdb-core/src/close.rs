//! Closing a session: giving back what it holds, and removing it.

use crate::error::TxError;
use crate::heartbeat::Registry;
use crate::lease::Lease;
use crate::pool::Pool;
use crate::transaction::run_unfenced;
use bmdb_model::work::{self, Ended};
use bmdb_model::{SessionId, session};
use diesel_async::AsyncPgConnection;

/// Closes a session, whoever still has a handle of it.
pub(crate) async fn close(pool: &Pool, lease: &Lease, registry: &Registry) -> Result<(), TxError> {
    registry.remove(lease.session);
    lease.lose();
    let id = lease.session;
    let body = async |conn: &mut AsyncPgConnection| remove(conn, id).await;
    run_unfenced(pool, lease.interval, &body).await
}

/// The session's row is locked first, so that no claim or end of it can be under way.
async fn remove(conn: &mut AsyncPgConnection, id: SessionId) -> Result<(), TxError> {
    if !session::lock(conn, id).await? {
        return Err(TxError::SessionExpired);
    }
    for attempt in work::held_by(conn, id).await? {
        if work::cancel(conn, &attempt).await? != Ended::Done(()) {
            return Err(TxError::SessionExpired);
        }
    }
    session::delete(conn, &[id]).await?;
    Ok(())
}
