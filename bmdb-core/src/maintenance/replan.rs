//! Replanning the whole fleet at once, in batches.

use crate::db::database::Database;
use crate::error::TxError;
use crate::maintenance::batch::MACHINES;
use crate::session::listening;
use bmdb_model::internal;
use bmdb_model::internal::notify::Notify;
use bmdb_model::{MachineId, ProcessDef, machine, process};
use diesel_async::AsyncPgConnection;

/// What replanning does about machines whose tags another transaction is writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockedMachines {
    /// Skip them: that transaction plans them.
    Skip,
    /// Wait, and bump their versions: that transaction may plan by definitions that have changed.
    Wait,
}

/// Adds or replaces a process's definition.
pub(crate) async fn define(database: &Database, definition: &ProcessDef) -> Result<(), TxError> {
    let define = async |conn: &mut AsyncPgConnection| Ok(process::define(conn, definition).await?);
    database.transaction(&define).await?;
    Ok(())
}

/// Replans every machine; returns their number. Calls `progress` after each batch with the number so far.
pub(crate) async fn fleet(
    database: &Database,
    locked: LockedMachines,
    mut progress: impl FnMut(u64) + Send,
) -> Result<u64, TxError> {
    // Plans of silent machines depend on it.
    listening::observe(database).await;
    let notify = database.notify;
    let mut planned = 0;
    let mut after = None;
    loop {
        let plan =
            async |conn: &mut AsyncPgConnection| plan_batch(conn, after, locked, notify).await;
        let machines = database.transaction(&plan).await?;
        let Some(last) = machines.last() else {
            return Ok(planned);
        };
        after = Some(*last);
        planned += u64::try_from(machines.len()).unwrap_or(0);
        progress(planned);
    }
}

/// Locks the machines in one statement and plans them in the next, which sees what was written before the
/// lock.
async fn plan_batch(
    conn: &mut AsyncPgConnection,
    after: Option<MachineId>,
    locked: LockedMachines,
    notify: Notify,
) -> Result<Vec<MachineId>, TxError> {
    let machines = match locked {
        LockedMachines::Skip => internal::plan::lock_chunk(conn, after, MACHINES).await?,
        LockedMachines::Wait => {
            let machines = machine::page(conn, after, MACHINES).await?;
            internal::machine::touch_existing(conn, &machines).await?;
            machines
        }
    };
    internal::plan::replan_notifying(conn, &machines, notify).await?;
    Ok(machines)
}
