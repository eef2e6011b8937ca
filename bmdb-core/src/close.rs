//! Closing a session: giving back what it holds, and removing it.

use crate::error::TxError;
use crate::heartbeat::Registry;
use crate::lease::Lease;
use crate::pool::Pool;
use crate::retry::Retry;
use crate::transaction::give_back_unless_lost;
use bmdb_model::connection::{self, Access, Isolation};
use bmdb_model::work::{self, Ended};
use bmdb_model::{SessionId, session};
use diesel_async::AsyncPgConnection;

/// Closes a session, whoever still has a handle of it.
pub(crate) async fn close(pool: &Pool, lease: &Lease, registry: &Registry) -> Result<(), TxError> {
    registry.remove(lease.session);
    lease.lose();
    let mut retry = Retry::new(lease.interval);
    loop {
        let mut conn = pool.lease().await?;
        match close_once(&mut conn, lease.session).await {
            Ok(()) => {
                conn.give_back();
                return Ok(());
            }
            Err(error) => {
                if connection::roll_back(&mut conn).await.is_ok() {
                    give_back_unless_lost(conn, &error);
                }
                retry.after(error).await?;
            }
        }
    }
}

/// READ COMMITTED: each statement must see what was committed while the one before it waited for
/// its lock. The session's row is locked first, so no claim or end of it can be under way.
async fn close_once(conn: &mut AsyncPgConnection, id: SessionId) -> Result<(), TxError> {
    connection::begin(conn, Isolation::ReadCommitted, Access::ReadWrite).await?;
    if !session::lock(conn, id).await? {
        return Err(TxError::SessionExpired);
    }
    for attempt in work::held_by(conn, id).await? {
        if work::cancel(conn, &attempt).await? != Ended::Done(()) {
            return Err(TxError::SessionExpired);
        }
    }
    session::delete(conn, &[id]).await?;
    Ok(connection::commit(conn).await?)
}
