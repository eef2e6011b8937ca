//! The gates of a process on a machine, and what closes them: why nothing happens.
//!
//! A claim takes an item whose three gates are open: it is eligible, it is ready, and neither it nor
//! another process of its lane is claimed. The fourth gate is that of its queue: the process is not paused
//! there, and its limits leave room. Here each gate says whether it is open, since when, what
//! closes it, and what will open it and when. These functions only read, and lock nothing. Read in a
//! snapshot of its own, such as a transaction of `bmdb_core::Reader`.

mod custom_tags;
mod gate;
mod planned;
mod row;
mod view;

pub use gate::{
    Backoff, CurrentClaim, Effect, Eligible, Gates, Ready, TagState, View, When, Workflow,
};

use crate::{Error, MachineId, Process, agent, hold, machine, plan, process_control, provided};
use diesel_async::AsyncPgConnection;
use view::Said;

/// Returns the gates of every process that is defined or has an item on the machine, by name. The
/// effects of the tags are not determined ([`Effect::NoneAlone`]): [`one`] does that.
///
/// # Errors
/// [`Error::NoSuchMachine`], [`Error::Database`].
pub async fn of(conn: &mut AsyncPgConnection, machine: MachineId) -> Result<Vec<Gates>, Error> {
    read(conn, machine, None).await
}

/// Returns the gates of one process on a machine, whether or not it is defined.
///
/// If the view does not list the machine, the view is queried again for each tag that it reads: as if
/// the machine had that tag, or did not have it.
///
/// # Errors
/// [`Error::NoSuchMachine`], [`Error::Database`].
pub async fn one(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
) -> Result<Gates, Error> {
    let mut gates = read(conn, machine, Some(process)).await?;
    // The statement returns a row for each process that it is asked for.
    let mut gates = gates.pop().ok_or(Error::NoSuchMachine(machine))?;
    if let (Some(workflow), View::DoesNotList) = (&gates.workflow, &gates.eligible.view) {
        view::find_effects(conn, machine, &workflow.view, &mut gates.eligible.tags).await?;
    }
    Ok(gates)
}

/// Whether a workflow's view is about machines whose agents are silent.
pub(crate) async fn is_about_silence(
    conn: &mut AsyncPgConnection,
    workflow: &str,
) -> Result<bool, Error> {
    let relations = custom_tags::relations(conn, workflow).await?;
    Ok(custom_tags::are_about_silence(&relations))
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
    let provider = provided::of(conn, machine).await?.map(|tag| tag.provider);
    let failures = plan::failures(conn).await?;
    let mut all = Vec::new();
    for row in row::read(conn, machine, process).await? {
        let (view, relations) = match &row.1.4 {
            None => (Said::default(), Vec::new()),
            Some(view) => (
                view::ask(conn, machine, view).await?,
                custom_tags::relations(conn, view).await?,
            ),
        };
        let provider = row.2.2.as_ref().or(provider.as_ref());
        let stops = process_control::closed_gates(conn, &row.1.0, provider).await?;
        let silence = match custom_tags::are_about_silence(&relations) {
            true => agent::silence(conn, machine).await?,
            false => None,
        };
        let tags = custom_tags::tags(conn, machine, relations).await?;
        let mut gates = row::gates(machine, hold.clone(), row, view, tags, stops);
        gates.silence = silence;
        let failure = failures.iter().find(|f| f.broken.process == gates.process);
        gates.not_plannable = failure.cloned();
        all.push(gates);
    }
    Ok(all)
}
