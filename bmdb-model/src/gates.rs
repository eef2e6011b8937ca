//! Why nothing happens: the three gates of a process on a machine, and what shuts them.
//!
//! A claim takes an item whose three gates are open: it is eligible, it is ready, and nobody holds it or
//! another process of its lane. Here each gate says whether it is open, since when, by what it is shut,
//! and what will open it and when. All of it is read, nothing is written or locked; read it in a snapshot
//! of its own, such as a transaction of `bmdb_core::Reader`.

mod custom_tags;
mod gate;
mod planned;
mod row;
mod view;

pub use gate::{
    Backoff, CurrentClaim, Effect, Eligible, Gates, Ready, TagState, View, When, Workflow,
};

use crate::{Error, MachineId, Process, hold, machine};
use diesel_async::AsyncPgConnection;
use view::Said;

/// The gates of every process that is defined or has an item on the machine, by name.
///
/// What a tag has to do with it is not asked ([`Effect::NoneAlone`]): [`one`] does.
///
/// # Errors
/// [`Error::NoSuchMachine`], [`Error::Database`].
pub async fn of(conn: &mut AsyncPgConnection, machine: MachineId) -> Result<Vec<Gates>, Error> {
    read(conn, machine, None).await
}

/// The gates of one process on a machine, whether anybody has defined it or not.
///
/// Where the view does not list the machine, it is asked once more for each tag that it looks at, as if
/// the machine had that tag, or had it not.
///
/// # Errors
/// [`Error::NoSuchMachine`], [`Error::Database`].
pub async fn one(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
) -> Result<Gates, Error> {
    let mut gates = read(conn, machine, Some(process)).await?;
    // There is a row for each process that is asked for.
    let mut gates = gates.pop().ok_or(Error::NoSuchMachine(machine))?;
    if let (Some(workflow), View::DoesNotList) = (&gates.workflow, &gates.eligible.view) {
        view::find_effects(conn, machine, &workflow.view, &mut gates.eligible.tags).await?;
    }
    Ok(gates)
}

async fn read(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: Option<&Process>,
) -> Result<Vec<Gates>, Error> {
    if machine::find(conn, machine).await?.is_none() {
        return Err(Error::NoSuchMachine(machine));
    }
    let hold = hold::of(conn, machine).await?;
    let mut all = Vec::new();
    for row in row::read(conn, machine, process).await? {
        let (view, tags) = match &row.1.4 {
            None => (Said::default(), Vec::new()),
            Some(view) => (
                view::ask(conn, machine, view).await?,
                custom_tags::tags(conn, machine, view).await?,
            ),
        };
        all.push(row::gates(machine, hold.clone(), row, view, tags));
    }
    Ok(all)
}
