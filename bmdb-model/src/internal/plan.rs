//! The planner: writes into work items what the workflows' views say of machines.
//!
//! The workflows are rows and views of the database, so even a component that does not know a workflow
//! plans it correctly when it writes a tag.

mod careful;
mod definitions;
mod failures;
mod statement;
mod unplanned;

pub use careful::{may_be_a_views_fault, replan_carefully};
pub(crate) use definitions::definitions_pipelined;
pub use definitions::{Definitions, DefinitionsVersion, KnownDefinitions, definitions};
pub use failures::check_again;
pub(crate) use statement::{PlanAndFinish, with_quick_finishes};
pub use unplanned::Unplanned;

use statement::Plan;

use super::connection::{committing, plan_once_locally};
use super::notify::Notify;
use crate::statement::statement;
use crate::{Error, MachineId};
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::join;

/// Like [`replan`](crate::plan::replan), and notifies of processes for which machines become due once
/// the transaction commits: at most once for each process.
///
/// # Errors
/// As [`replan`](crate::plan::replan).
pub async fn replan_notifying(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    notify: Notify,
) -> Result<(), Error> {
    let definitions = definitions(conn).await?;
    match machines {
        [] => Ok(()),
        _ => plan_pipelined(conn, machines, &definitions, notify).await,
    }
}

/// Like [`replan_notifying`], by definitions that were read before. The transaction's later statements are
/// planned once too ([`plan_once`](super::connection::plan_once)).
///
/// # Errors
/// As [`replan`](crate::plan::replan).
pub async fn replan_by(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    definitions: &Definitions,
    notify: Notify,
) -> Result<(), Error> {
    replan_once_pipelined(conn, machines, definitions, notify).await
}

/// Like [`replan_by`], pipelined.
pub(crate) async fn replan_once_pipelined(
    conn: &AsyncPgConnection,
    machines: &[MachineId],
    definitions: &Definitions,
    notify: Notify,
) -> Result<(), Error> {
    if machines.is_empty() {
        return Ok(());
    }
    let plan = plan_pipelined(conn, machines, definitions, notify);
    let (set, planned) = join(plan_once_locally(conn), plan).await;
    set?;
    planned
}

/// With the settings of the transaction.
async fn plan_pipelined(
    mut conn: &AsyncPgConnection,
    machines: &[MachineId],
    definitions: &Definitions,
    notify: Notify,
) -> Result<(), Error> {
    let plan = Plan::new(machines, definitions, notify);
    plan.execute(&mut conn).await?;
    Ok(())
}

/// Like [`replan_by`], and commits, in one round trip.
///
/// # Errors
/// As [`replan`](crate::plan::replan), and then everything was rolled back; otherwise as
/// [`super::connection::commit`].
pub async fn replan_and_commit(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    definitions: &Definitions,
    notify: Notify,
) -> Result<(), Error> {
    // Its parameters are ids and names from the database, so it cannot fail before it is sent.
    let plan = async |conn: &AsyncPgConnection| {
        replan_once_pipelined(conn, machines, definitions, notify).await
    };
    committing(conn, plan).await
}

statement! {
    /// Counts the columns of a workflow's view that the planner needs. The server truncates a name that
    /// is too long, and would then find another view.
    WorkflowColumns<'a> = "SELECT count(*) = 3 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
         WHERE c.oid = to_regclass(quote_ident($1)) AND c.relname = $1 AND c.relkind IN ('v', 'm') \
           AND NOT a.attisdropped \
           AND (a.attname, a.atttypid) IN (('machine_id', 'uuid'::regtype), ('provider', 'text'::regtype), \
                                           ('ready_at', 'timestamptz'::regtype))";
    (view: &'a str => Text) -> Bool
}

/// Checks whether the planner can use `workflow`; the inner error says why not.
pub(crate) async fn check_workflow(
    conn: &mut AsyncPgConnection,
    workflow: &str,
) -> Result<Result<(), String>, Error> {
    let usable: bool = WorkflowColumns { view: workflow }.get_result(conn).await?;
    Ok(if usable {
        Ok(())
    } else {
        Err(format!(
            "there is no view {workflow:?} with the columns machine_id uuid, provider text and \
             ready_at timestamptz: create it in a migration of yours first"
        ))
    })
}

statement! {
    /// Not "$1 IS NULL OR …": a plan for all parameters would read the index from its start.
    LockChunk = "SELECT machine_id FROM machines \
         WHERE machine_id >= coalesce($1::uuid, '00000000-0000-0000-0000-000000000000') \
           AND machine_id IS DISTINCT FROM $1 \
         ORDER BY machine_id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED";
    (after: Option<MachineId> => Nullable<SqlUuid>, limit: i64 => BigInt) -> SqlUuid
}

/// Locks up to `limit` machines after `after` for planning, in id order. Machines that are locked by
/// another transaction are left out; that transaction plans them.
///
/// # Errors
/// [`Error::Database`].
pub async fn lock_chunk(
    conn: &mut AsyncPgConnection,
    after: Option<MachineId>,
    limit: i64,
) -> Result<Vec<MachineId>, Error> {
    Ok(LockChunk { after, limit }.load(conn).await?)
}
