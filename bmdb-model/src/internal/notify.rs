//! Notifications about machines that become due, on engines that have `LISTEN` and `NOTIFY`.
//!
//! They only shorten the time until the next poll: a notification may be lost, and none is sent for
//! items that become due as time passes or that are given back.

use crate::statement::statement;
use crate::{Error, MachineId, Process};
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

/// Whether a transaction notifies listeners of processes for which machines become due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Notify {
    /// Listeners ([`listen`]) receive each such process. The transaction takes a lock at its commit
    /// that all databases of the server share.
    On,
    /// No notification: for engines without `NOTIFY`, and where that lock is in the way.
    #[default]
    Off,
}

/// The only channel; the payload is the process.
macro_rules! channel {
    () => {
        "bmdb_due"
    };
}

/// The end of the planning statement. What it writes of a due, unclaimed machine either makes the
/// machine due or moves it to another queue. The server folds equal notifications of a transaction, so
/// that each process is notified once.
pub(crate) const NOTIFYING: &str = concat!(
    "\nRETURNING CASE WHEN t.eligible AND t.session_id IS NULL AND t.ready_at <= now() THEN pg_notify('",
    channel!(),
    "', t.process) END"
);

/// Makes a connection receive the notifications ([`AsyncPgConnection::notifications_stream`]), whose
/// payload is the process. Earlier notifications are not received.
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

/// Notifies of an item once the transaction commits, if the item is due and unclaimed: for items that
/// become due by other means than planning.
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
