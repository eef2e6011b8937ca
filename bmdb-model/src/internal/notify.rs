//! Notifications of machines that become due, on engines that have `LISTEN` and `NOTIFY`.
//!
//! They only make polling quicker: a notification may get lost, and none is sent for what becomes due
//! by the passing of time or is given back.

use crate::statement::statement;
use crate::{Error, MachineId, Process};
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

/// Whether planning notifies of what it makes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Notify {
    /// Whoever listens ([`listen`]) is told each process that machines became due for. Such a
    /// transaction takes a lock at its commit that all databases of the server share.
    On,
    /// Nobody is told: for engines that cannot, and for where that lock is in the way.
    #[default]
    Off,
}

/// The one channel; the payload is the process.
macro_rules! channel {
    () => {
        "bmdb_due"
    };
}

/// Ends the planning statement. What is written of a machine that is due and that nobody holds either
/// makes it due or moves it to another queue. The server folds what is equal within a transaction, so
/// that each process is notified of once.
pub(crate) const NOTIFYING: &str = concat!(
    "\nRETURNING CASE WHEN t.eligible AND t.session_id IS NULL AND t.ready_at <= now() THEN pg_notify('",
    channel!(),
    "', t.process) END"
);

/// Makes a connection receive the notifications
/// ([`AsyncPgConnection::notifications_stream`]): their payload is the process. What was sent before is
/// not received.
///
/// # Errors
/// [`Error::Database`].
pub async fn listen(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    Ok(conn.batch_execute(concat!("LISTEN ", channel!())).await?)
}

statement! {
    Due<'a> = concat!(
        "SELECT pg_notify('", channel!(), "', i.process) FROM work_item i \
         WHERE i.machine_id = $1 AND i.process = $2 AND i.eligible AND i.session_id IS NULL \
           AND i.ready_at <= clock_timestamp()"
    );
    (machine: MachineId => SqlUuid, process: &'a Process => Text) -> ()
}

/// Notifies of an item, once the transaction commits, if it is due and free: for what is made due by
/// something else than planning.
///
/// # Errors
/// [`Error::Database`].
pub async fn if_due(
    conn: &mut AsyncPgConnection,
    notify: Notify,
    machine: MachineId,
    process: &Process,
) -> Result<(), Error> {
    if notify == Notify::On {
        Due { machine, process }.execute(conn).await?;
    }
    Ok(())
}
