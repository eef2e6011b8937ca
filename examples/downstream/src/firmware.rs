//! Firmware: two tags of our own, and the process that they make due.

use crate::schema::{firmware_installed, firmware_wanted};
use bmdb_core::{Tx, TxError};
use bmdb_model::{Lane, MachineId, Process, ProcessDef};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// The process. All programs on a database share one set of process names, hence the prefix.
pub const FIRMWARE_UPDATE: Process = Process::from_static("RacksFirmwareUpdate");

/// The definition of the process, which all programs share: the view that lists the machines that need
/// it, and the lane of processes that it excludes.
///
/// Flashing restarts a machine, so no agent may be started on it meanwhile, and the reverse: the process
/// shares the lane of bmdb's own processes. A process that need not exclude them has its own lane by
/// default, which is better if many machines are due for both.
#[must_use]
pub fn definition() -> ProcessDef {
    ProcessDef::new(FIRMWARE_UPDATE)
        .lane(Lane::SHEPHERD)
        .workflow("firmware_workflow")
}

/// The firmware that an operator wants on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The version; not empty.
    pub version: String,
    /// The start of the maintenance window, by the database's clock; `None` means at once.
    pub not_before: Option<DateTime<Utc>>,
}

/// A row of `firmware_installed`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = firmware_installed, check_for_backend(Pg))]
pub struct Installed {
    /// The version.
    pub version: String,
    /// When its installation was recorded.
    pub installed_at: DateTime<Utc>,
}

/// Sets the firmware that is wanted on these machines, and replaces what was wanted before.
///
/// A function that writes tags takes the [`Tx`] and touches the machines first. That locks them, and
/// makes bmdb plan them with the new tags before the commit.
pub async fn want(tx: &mut Tx<'_>, machines: &[MachineId], wanted: &Wanted) -> Result<(), TxError> {
    tx.touch_all(machines).await?;
    let row = |machine: &MachineId| {
        (
            firmware_wanted::machine_id.eq(*machine),
            firmware_wanted::version.eq(&wanted.version),
            firmware_wanted::not_before.eq(wanted.not_before),
        )
    };
    let rows: Vec<_> = machines.iter().map(row).collect();
    diesel::insert_into(firmware_wanted::table)
        .values(rows)
        .on_conflict(firmware_wanted::machine_id)
        .do_update()
        .set((
            firmware_wanted::version.eq(excluded(firmware_wanted::version)),
            firmware_wanted::not_before.eq(excluded(firmware_wanted::not_before)),
        ))
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes what was wanted. Returns whether there was anything.
pub async fn unwant(tx: &mut Tx<'_>, machine: MachineId) -> Result<bool, TxError> {
    tx.touch(machine).await?;
    let deleted = diesel::delete(firmware_wanted::table.find(machine));
    Ok(deleted.execute(tx).await? == 1)
}

/// Records the firmware that a machine has now.
pub async fn set_installed(
    tx: &mut Tx<'_>,
    machine: MachineId,
    version: &str,
) -> Result<(), TxError> {
    tx.touch(machine).await?;
    diesel::insert_into(firmware_installed::table)
        .values((
            firmware_installed::machine_id.eq(machine),
            firmware_installed::version.eq(version),
        ))
        .on_conflict(firmware_installed::machine_id)
        .do_update()
        .set((
            firmware_installed::version.eq(excluded(firmware_installed::version)),
            firmware_installed::installed_at.eq(excluded(firmware_installed::installed_at)),
        ))
        .execute(tx)
        .await?;
    Ok(())
}

/// The versions that are wanted on these machines. To read, any connection will do.
pub async fn wanted(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
) -> QueryResult<Vec<(MachineId, String)>> {
    firmware_wanted::table
        .filter(firmware_wanted::machine_id.eq_any(machines))
        .select((firmware_wanted::machine_id, firmware_wanted::version))
        .load(conn)
        .await
}

/// The firmware of a machine, if this program has ever installed it.
pub async fn installed(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
) -> QueryResult<Option<Installed>> {
    let row = firmware_installed::table.find(machine);
    let row = row.select(Installed::as_select()).first(conn).await;
    row.optional()
}
