//! Changing a definition while components work by it.

use super::{ProcessDef, of};
use crate::column::Column;
use crate::connection::{Access, Isolation};
use crate::internal::{connection, items_lock, plan};
use crate::schema::{process_def, work_item};
use crate::statement::statement;
use crate::{Error, Process};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Adds or replaces a definition, in a transaction of its own: the connection must not be in one. Replan the
/// fleet afterwards, as `Bmdb::define_process` does; it also tries again when another transaction is in the
/// way.
///
/// Components may pass the definition that is in force already, although they may not write others
/// ([`crate::grants`]).
///
/// A change waits for transactions that have written work items, and blocks claims, plans and ends
/// meanwhile: for a fifth of a second at most, and for as long as it takes to move the process's items to
/// another lane. Each plan is then either committed before the change or made after it: one that was to be made
/// by older definitions fails with [`crate::ErrorKind::Serialization`] and is retried.
///
/// # Errors
/// [`Error::InvalidDefinition`] if a time is out of range, if the workflow is not a view with the
/// columns `machine_id uuid`, `provider text`, `ready_at timestamptz`, if the process is switched off and
/// would get a workflow, or if the lane would change while the process works on machines.
/// [`Error::Database`], with [`crate::ErrorKind::LockTimeout`] or [`crate::ErrorKind::Serialization`] if
/// another transaction was in the way.
pub async fn define(conn: &mut AsyncPgConnection, definition: &ProcessDef) -> Result<(), Error> {
    let process = &definition.process;
    if let Some(problem) = definition.problem() {
        return Err(invalid(process, problem));
    }
    if let Some(workflow) = &definition.workflow {
        crate::error::storable_non_empty(Column::WORKFLOW.name, workflow)?;
    }
    if of(conn, process).await? == *definition {
        return Ok(());
    }
    // A SERIALIZABLE transaction that has read the definitions before and creates a machine after this
    // change would plan it by them. It conflicts with this one only if this one is SERIALIZABLE too.
    connection::begin(conn, Isolation::Serializable, Access::ReadWrite).await?;
    match replace(conn, definition).await {
        Ok(()) => connection::commit(conn).await,
        Err(error) => {
            if error.kind() != crate::ErrorKind::ConnectionLost {
                connection::roll_back(conn).await?;
            }
            Err(error)
        }
    }
}

fn invalid(process: &Process, problem: String) -> Error {
    Error::InvalidDefinition {
        process: process.clone(),
        problem,
    }
}

statement! {
    /// Reads `machines` from its start, which no index can do, so that each machine that another
    /// SERIALIZABLE transaction creates or writes meanwhile conflicts with this read.
    ReadMachines = "SELECT machine_version FROM machines LIMIT 1";
    () -> BigInt
}

statement! {
    SwitchedOff<'a> = "SELECT off_workflow FROM process_def \
                       WHERE process = $1 AND off_workflow IS NOT NULL";
    (process: &'a Process => Text) -> Text
}

async fn replace(conn: &mut AsyncPgConnection, definition: &ProcessDef) -> Result<(), Error> {
    let process = &definition.process;
    // So the snapshot is taken behind the lock.
    items_lock::lock(conn).await?;
    let in_force = of(conn, process).await?;
    if let Some(workflow) = &definition.workflow {
        let usable = plan::check_workflow(conn, workflow).await?;
        usable.map_err(|problem| invalid(process, problem))?;
        let off: Option<String> = SwitchedOff { process }.get_result(conn).await.optional()?;
        if let Some(off) = off {
            return Err(invalid(
                process,
                format!(
                    "it is switched off (its workflow was {off}), and a definition with a workflow would \
                     switch it on: run `bmdb process on {process}` first"
                ),
            ));
        }
    }
    let moves = in_force.lane != definition.lane;
    if moves {
        refuse_if_claimed(conn, process).await?;
    }
    let _version: Option<i64> = ReadMachines {}.get_result(conn).await.optional()?;
    diesel::insert_into(process_def::table)
        .values(definition)
        .on_conflict(process_def::process)
        .do_update()
        .set(definition)
        .execute(conn)
        .await?;
    if moves {
        // After the definition, by which a trigger sets the lane.
        diesel::update(work_item::table.filter(work_item::process.eq(process)))
            .set(work_item::lane.eq(&definition.lane))
            .execute(conn)
            .await?;
    }
    Ok(())
}

async fn refuse_if_claimed(conn: &mut AsyncPgConnection, process: &Process) -> Result<(), Error> {
    let is_claimed = work_item::process
        .eq(process)
        .and(work_item::session_id.is_not_null());
    let claimed: i64 = work_item::table
        .filter(is_claimed)
        .count()
        .get_result(conn)
        .await?;
    match claimed {
        0 => Ok(()),
        claimed => Err(invalid(
            process,
            format!(
                "its lane cannot change while it is at work on {claimed} machines: wait, or stop its \
                 components"
            ),
        )),
    }
}
