//! The planner: writes into work items what the workflows' views say of machines.
//!
//! The workflows are rows and views of the database, so a component that has never heard of one
//! still plans it right when it writes a tag.

use crate::schema::process_def;
use crate::statement::statement;
use crate::{Error, MachineId, Process};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, Bool, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Re-plans machines whose rows the caller's transaction has locked ([`crate::machine::touch`]).
///
/// Call it in a later statement than the writes it plans by: under READ COMMITTED a statement sees
/// what was committed before it began, so the plan is made from the tags as they are after every
/// writer that held the machine before. Only what differs is written.
///
/// # Errors
/// [`Error::Database`], also when a workflow's view is missing or lists a machine twice.
pub async fn machines(conn: &mut AsyncPgConnection, machines: &[MachineId]) -> Result<(), Error> {
    let workflows: Vec<(Process, String)> = process_def::table
        .filter(process_def::workflow.is_not_null())
        .select((
            process_def::process,
            process_def::workflow.assume_not_null(),
        ))
        .order(process_def::process)
        .load(conn)
        .await?;
    if workflows.is_empty() || machines.is_empty() {
        return Ok(());
    }
    Plan {
        machines,
        workflows: &workflows,
    }
    .execute(conn)
    .await?;
    Ok(())
}

/// The planning statement, one branch per workflow. Cached by its text: the workflows are part of it.
struct Plan<'a> {
    machines: &'a [MachineId],
    workflows: &'a [(Process, String)],
}

impl QueryId for Plan<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl diesel::query_builder::Query for Plan<'_> {
    type SqlType = ();
}

impl QueryFragment<Pg> for Plan<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH machine AS MATERIALIZED (SELECT unnest(");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.machines)?;
        out.push_sql("::uuid[]) AS machine_id), listed AS (");
        for (position, (process, workflow)) in self.workflows.iter().enumerate() {
            if position > 0 {
                out.push_sql(" UNION ALL ");
            }
            out.push_sql("SELECT v.machine_id, ");
            out.push_bind_param::<Text, _>(process)?;
            out.push_sql("::text AS process, v.provider, v.ready_at FROM ");
            out.push_identifier(workflow)?;
            out.push_sql(" v WHERE v.machine_id = ANY ($1)");
        }
        out.push_sql(include_str!("sql/plan_tail.sql"));
        Ok(())
    }
}

statement! {
    /// The columns a workflow's view has, as far as the planner needs them.
    WorkflowColumns<'a> = "SELECT count(*) = 3 FROM pg_attribute a \
         WHERE a.attrelid = to_regclass(quote_ident($1)) AND NOT a.attisdropped \
           AND (a.attname, a.atttypid) IN (('machine_id', 'uuid'::regtype), ('provider', 'text'::regtype), \
                                           ('ready_at', 'timestamptz'::regtype))";
    (view: &'a str => Text) -> Bool
}

/// Whether `workflow` can be planned by: the inner error says why not.
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

/// Up to `limit` machines after `after`, in id order, locked for planning; machines that somebody
/// else has locked are left out: their holder plans them.
///
/// # Errors
/// [`Error::Database`].
pub async fn lock_chunk(
    conn: &mut AsyncPgConnection,
    after: Option<MachineId>,
    limit: i64,
) -> Result<Vec<MachineId>, Error> {
    use crate::schema::machines;
    let after = after.unwrap_or_else(|| uuid::Uuid::nil().into());
    Ok(machines::table
        .filter(machines::machine_id.gt(after))
        .order(machines::machine_id)
        .limit(limit)
        .select(machines::machine_id)
        .for_no_key_update()
        .skip_locked()
        .load(conn)
        .await?)
}
