//! Replanning the whole fleet at once, in batches.

use crate::db::database::Database;
use crate::error::TxError;
use crate::maintenance::batch::MACHINES;
use crate::session::listening_observer;
use bmdb_model::internal;
use bmdb_model::{MachineId, machine};
use diesel_async::AsyncPgConnection;

/// What replanning does about machines whose tags another transaction is writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockedMachines {
    /// Skip them: that transaction plans them.
    Skip,
    /// Wait, and bump their versions: that transaction may plan by definitions that have changed.
    Wait,
}

/// Replans every machine; returns their number. Calls `progress` after each batch with the number so far.
pub(crate) async fn fleet(
    database: &Database,
    locked: LockedMachines,
    mut progress: impl FnMut(u64) + Send,
) -> Result<u64, TxError> {
    // Plans of silent machines depend on it.
    listening_observer::observe_first(database).await?;
    let notify = database.notify;
    let check =
        async |conn: &mut AsyncPgConnection| Ok(internal::plan::check_again(conn, notify).await?);
    database.transaction(&check).await?;
    let mut planned = 0;
    let mut after = None;
    loop {
        let plan =
            async |conn: &mut AsyncPgConnection| plan_batch(database, conn, after, locked).await;
        let machines = database.transaction(&plan).await?;
        let Some(last) = machines.last() else {
            return Ok(planned);
        };
        after = Some(*last);
        planned += u64::try_from(machines.len()).unwrap_or(0);
        progress(planned);
    }
}

/// Locks the machines in one statement and plans them in later ones, which see what was written before the
/// lock. A workflow that fails leaves its items as they were.
async fn plan_batch(
    database: &Database,
    conn: &mut AsyncPgConnection,
    after: Option<MachineId>,
    locked: LockedMachines,
) -> Result<Vec<MachineId>, TxError> {
    let machines = match locked {
        LockedMachines::Skip => internal::plan::lock_chunk(conn, after, MACHINES).await?,
        LockedMachines::Wait => {
            let machines = machine::page(conn, after, MACHINES).await?;
            internal::machine::touch_existing(conn, &machines).await?;
            machines
        }
    };
    let definitions = internal::plan::definitions(conn).await?;
    let plan = internal::plan::replan_carefully(conn, &machines, &definitions, database.notify);
    let unplanned = plan.await?;
    database.note_unplanned(&unplanned);
    Ok(machines)
}
