//! Firmware: two tags of our own, and the process that is due by them.

use crate::schema::{firmware_installed, firmware_wanted};
use bmdb_core::{Tx, TxError};
use bmdb_model::{Lane, MachineId, Process, ProcessDef};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// The process. Its name lies in one database with everybody's, hence the prefix.
pub const FIRMWARE_UPDATE: Process = Process::from_static("RacksFirmwareUpdate");

/// What everybody must know alike about the process: when a machine needs it, which the view says, and
/// what it excludes.
///
/// A machine that is being flashed restarts, so nobody may start an agent on it meanwhile, and it is
/// not flashed under somebody who does: the process shares the lane of bmdb's own. One that gets along
/// with them has its own lane by default, which is better where many machines are due for both.
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
    /// The beginning of the maintenance window, by the database's clock; at once without it.
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

/// Says which firmware these machines are to have, in place of what was wanted before.
///
/// A function that writes a tag takes the [`Tx`], for it touches the machines first: that locks them,
/// and has bmdb plan them by what is written here, before the commit.
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

/// Takes back what was wanted; whether anything was.
pub async fn unwant(tx: &mut Tx<'_>, machine: MachineId) -> Result<bool, TxError> {
    tx.touch(machine).await?;
    let deleted = diesel::delete(firmware_wanted::table.find(machine));
    Ok(deleted.execute(tx).await? == 1)
}

/// Says which firmware a machine has now.
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

/// The versions that are wanted on these machines. Reading takes any connection.
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

/// The firmware of a machine, if it was ever installed from here.
pub async fn installed(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
) -> QueryResult<Option<Installed>> {
    let row = firmware_installed::table.find(machine);
    let row = row.select(Installed::as_select()).first(conn).await;
    row.optional()
}
