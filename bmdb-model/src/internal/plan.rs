//! The planner: writes into work items what the workflows' views say of machines.
//!
//! The workflows are rows and views of the database, so even a component that does not know a workflow
//! plans it correctly when it writes a tag.

mod careful;
mod failures;
mod unplanned;

pub use careful::{may_be_a_views_fault, replan_carefully};
pub use failures::check_again;
pub use unplanned::Unplanned;

use super::connection::committing;
use super::machine;
use super::notify::{NOTIFYING, Notify};
use crate::statement::{cached_by_text, statement};
use crate::{Error, Lane, MachineId, Process};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::join;

/// The processes that have a workflow, with the definitions that were in force when they were read.
///
/// A plan by definitions that have changed since fails with [`crate::ErrorKind::Serialization`]: the
/// transaction reads them again when it is retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definitions {
    /// The number of changes so far; `None` if somebody has deleted it.
    version: Option<i64>,
    workflows: Vec<Workflow>,
}

impl Definitions {
    /// The same definitions, but only this process's view is queried; the items of all others stay as
    /// they are. Use it to find the view that makes planning fail, and to plan without it.
    #[must_use]
    pub fn only(&self, process: &Process) -> Self {
        let only = |workflow: &Workflow| Workflow {
            asked: workflow.process == *process,
            ..workflow.clone()
        };
        Self {
            version: self.version,
            workflows: self.workflows.iter().map(only).collect(),
        }
    }
}

statement! {
    /// With its version, in one statement, which sees both before a change or both after it. One row
    /// without a process if none has a workflow.
    ReadDefinitions = "SELECT v.version, d.process, d.lane, d.workflow \
         FROM (SELECT (SELECT version FROM definitions_version) AS version) v \
         LEFT JOIN process_def d ON d.workflow IS NOT NULL ORDER BY d.process";
    () -> (Nullable<BigInt>, Nullable<(Text, Text, Text)>)
}

type DefinitionRow = (Option<i64>, Option<(Process, Lane, String)>);

/// Reads the definitions, for planning several times by them. Lock the machines first.
///
/// # Errors
/// [`Error::Database`].
pub async fn definitions(conn: &mut AsyncPgConnection) -> Result<Definitions, Error> {
    definitions_pipelined(conn).await
}

pub(crate) async fn definitions_pipelined(
    mut conn: &AsyncPgConnection,
) -> Result<Definitions, Error> {
    let rows: Vec<DefinitionRow> = ReadDefinitions {}.load(&mut conn).await?;
    let version = rows.iter().find_map(|(version, _)| *version);
    let asked = |(process, lane, view)| Workflow {
        process,
        lane,
        view,
        asked: true,
    };
    let workflows = rows.into_iter().filter_map(|(_, row)| row.map(asked));
    Ok(Definitions {
        version,
        workflows: workflows.collect(),
    })
}

/// Touches machines ([`crate::machine::touch`]) and reads the definitions to plan them by, in one round
/// trip.
///
/// # Errors
/// As [`crate::machine::touch`].
pub async fn touch(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
) -> Result<Definitions, Error> {
    touch_pipelined(conn, machines).await
}

pub(crate) async fn touch_pipelined(
    conn: &AsyncPgConnection,
    machines: &[MachineId],
) -> Result<Definitions, Error> {
    let touch = machine::touch_pipelined(conn, machines);
    let (touched, definitions) = join(touch, definitions_pipelined(conn)).await;
    touched?;
    definitions
}

statement! {
    /// Not an update as in [`touch`]: nothing of the machine is written.
    LockIdle<'a> = "SELECT machine_id FROM machines WHERE machine_id = ANY ($1) \
         ORDER BY machine_id FOR NO KEY UPDATE SKIP LOCKED";
    (machines: &'a [MachineId] => Array<SqlUuid>) -> SqlUuid
}

/// Locks those of these machines for planning that no other transaction has locked, in id order, and reads
/// the definitions to plan them by. A transaction that has one locked plans it itself.
pub(crate) async fn lock_idle_pipelined(
    conn: &AsyncPgConnection,
    machines: &[MachineId],
) -> Result<(Vec<MachineId>, Definitions), Error> {
    let lock = async |mut conn: &AsyncPgConnection| LockIdle { machines }.load(&mut conn).await;
    let (locked, definitions) = join(lock(conn), definitions_pipelined(conn)).await;
    Ok((locked?, definitions?))
}

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
    replan_pipelined(conn, machines, &definitions, notify).await
}

/// Like [`replan_notifying`], by definitions that were read before.
///
/// # Errors
/// As [`replan`](crate::plan::replan).
pub async fn replan_by(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    definitions: &Definitions,
    notify: Notify,
) -> Result<(), Error> {
    replan_pipelined(conn, machines, definitions, notify).await
}

pub(crate) async fn replan_pipelined(
    conn: &AsyncPgConnection,
    machines: &[MachineId],
    definitions: &Definitions,
    notify: Notify,
) -> Result<(), Error> {
    match machines {
        [] => Ok(()),
        _ => plan_pipelined(conn, machines, definitions, notify).await,
    }
}

async fn plan_pipelined(
    mut conn: &AsyncPgConnection,
    machines: &[MachineId],
    Definitions { version, workflows }: &Definitions,
    notify: Notify,
) -> Result<(), Error> {
    let (processes, lanes) = workflows.iter().map(|w| (&w.process, &w.lane)).unzip();
    let plan = Plan {
        machines,
        version: *version,
        processes,
        lanes,
        workflows,
        notify,
    };
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
        replan_pipelined(conn, machines, definitions, notify).await
    };
    committing(conn, plan).await
}

#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
struct Workflow {
    process: Process,
    lane: Lane,
    view: String,
    /// Whether the view is queried. Otherwise its items stay as they are.
    asked: bool,
}

/// The planning statement, with one branch for each workflow. Diesel caches it by its text, because the
/// text contains the workflows. The definitions are parameters and are not read again, because one
/// might appear between the two statements; only their version is compared.
struct Plan<'a> {
    machines: &'a [MachineId],
    version: Option<i64>,
    processes: Vec<&'a Process>,
    lanes: Vec<&'a Lane>,
    workflows: &'a [Workflow],
    notify: Notify,
}

cached_by_text!(Plan -> ());

impl QueryFragment<Pg> for Plan<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH machine AS MATERIALIZED (SELECT unnest(");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.machines)?;
        // A scalar subquery is evaluated once.
        out.push_sql("::uuid[]) AS machine_id WHERE (SELECT definitions_are_current(");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.version)?;
        out.push_sql("::bigint))), definition AS MATERIALIZED (SELECT * FROM unnest(");
        out.push_bind_param::<Array<Text>, _>(&self.processes)?;
        out.push_sql("::text[], ");
        out.push_bind_param::<Array<Text>, _>(&self.lanes)?;
        out.push_sql(
            "::text[]) AS d (process, lane)), listed AS (SELECT NULL::uuid AS machine_id, \
             NULL::text AS process, NULL::text AS provider, NULL::timestamptz AS ready_at WHERE false",
        );
        for workflow in self.workflows {
            out.push_sql(" UNION ALL SELECT v.machine_id, ");
            out.push_bind_param::<Text, _>(&workflow.process)?;
            out.push_sql("::text, v.provider, v.ready_at FROM ");
            if workflow.asked {
                out.push_identifier(&workflow.view)?;
            } else {
                out.push_sql(
                    "(SELECT machine_id, provider, plan_at AS ready_at FROM work_item \
                     WHERE eligible AND process = ",
                );
                out.push_bind_param::<Text, _>(&workflow.process)?;
                out.push_sql(")");
            }
            out.push_sql(" v WHERE v.machine_id = ANY ($1)");
        }
        out.push_sql(include_str!("../sql/plan_tail.sql"));
        if self.notify == Notify::On {
            out.push_sql(NOTIFYING);
        }
        Ok(())
    }
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
