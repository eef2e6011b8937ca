//! The lock on all work items, for changes that no claim and no end may run beside.

use crate::Error;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use std::time::Duration;

/// How long the lock is waited for. Claims and ends queue behind a lock that is waited for.
pub const LOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// Blocks all writers of work items until the end of the transaction, but not readers. Takes no snapshot: the
/// transaction's first one sees what all writers have committed.
///
/// # Errors
/// [`Error::Database`]: [`crate::ErrorKind::LockTimeout`] after [`LOCK_TIMEOUT`].
pub async fn lock(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    let millis = LOCK_TIMEOUT.as_millis();
    let sql = format!(
        "SET LOCAL lock_timeout = {millis}; LOCK TABLE work_item IN SHARE ROW EXCLUSIVE MODE"
    );
    Ok(conn.batch_execute(&sql).await?)
}
