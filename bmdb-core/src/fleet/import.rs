//! Importing a fleet into the database, in batches.

use super::machines::{Fleet, Imported};
use bmdb_model::internal;
use bmdb_model::provided::KnownMachine;
use bmdb_model::{Error, MachineId, ProvidedMachine, hold, machine, provided};
use diesel_async::AsyncPgConnection;
use std::collections::HashSet;

/// How many machines one statement inserts: client and server hold its values in memory.
const BATCH: usize = 5000;

/// Creates all machines of a fleet, or fails for the first one that exists. `imported` has what was created
/// before an error.
pub(crate) async fn all(
    conn: &mut AsyncPgConnection,
    fleet: &Fleet,
    imported: &mut Imported,
) -> Result<(), Error> {
    for machines in fleet.machines().chunks(BATCH) {
        internal::provided::refuse_known(conn, machines).await?;
        imported.created.extend(create(conn, machines).await?);
    }
    for machines in fleet.without_provider().chunks(BATCH) {
        let known = internal::machine::existing(conn, machines).await?;
        if let Some(machine) = known.iter().next() {
            return Err(Error::MachineExists(*machine));
        }
        machine::create(conn, machines).await?;
        imported.created.extend(machines);
    }
    put_on_hold(conn, fleet, imported).await
}

/// Creates the machines of a fleet that do not exist yet. `imported` has what was created before an error.
pub(crate) async fn unknown(
    conn: &mut AsyncPgConnection,
    fleet: &Fleet,
    imported: &mut Imported,
) -> Result<(), Error> {
    for machines in fleet.machines().chunks(BATCH) {
        let known = internal::provided::known(conn, machines).await?;
        let existing: HashSet<MachineId> =
            known.iter().map(|known| known.listed.machine_id).collect();
        for known in known {
            imported.skipped.push(under_its_id(known)?);
        }
        let new = machines
            .iter()
            .filter(|m| !existing.contains(&m.machine_id));
        let new: Vec<ProvidedMachine> = new.cloned().collect();
        imported.created.extend(create(conn, &new).await?);
    }
    for machines in fleet.without_provider().chunks(BATCH) {
        let known = internal::machine::existing(conn, machines).await?;
        let new = machines.iter().copied().filter(|m| !known.contains(m));
        let new: Vec<MachineId> = new.collect();
        machine::create(conn, &new).await?;
        imported.created.extend(new);
        imported.skipped_without_provider.extend(known);
    }
    put_on_hold(conn, fleet, imported).await
}

/// Puts those of the created machines on hold of which the file says so.
async fn put_on_hold(
    conn: &mut AsyncPgConnection,
    fleet: &Fleet,
    imported: &Imported,
) -> Result<(), Error> {
    if fleet.holds().is_empty() {
        return Ok(());
    }
    let created: HashSet<&MachineId> = imported.created.iter().collect();
    let holds: Vec<(MachineId, &str)> = fleet
        .holds()
        .iter()
        .filter(|(machine, _)| created.contains(machine))
        .map(|(machine, reason)| (*machine, &**reason))
        .collect();
    hold::set_all(conn, &holds).await
}

async fn create(
    conn: &mut AsyncPgConnection,
    machines: &[ProvidedMachine],
) -> Result<Vec<MachineId>, Error> {
    let ids: Vec<MachineId> = machines.iter().map(|m| m.machine_id).collect();
    machine::create(conn, &ids).await?;
    provided::set_all(conn, machines).await?;
    Ok(ids)
}

/// The existing machine under its own id, or an error if the file means another one.
fn under_its_id(known: KnownMachine) -> Result<ProvidedMachine, Error> {
    let listed = known.listed;
    match known.provided {
        Some(machine) if machine == listed.machine_id || !known.id_is_taken => {
            Ok(ProvidedMachine::new(machine, listed.provided))
        }
        _ => Err(Error::MachineExists(listed.machine_id)),
    }
}
