//! Retrievals: machines that need a process, read live and without claiming them.

use crate::provided::ProvidedMachine;
use crate::statement::cached_by_text;
use crate::{Error, Process, Provider};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Lists machines on which the agent should be started and on which `process` may work now: they are
/// not on hold, their lane for the process is free, and the process is not backing off there.
///
/// # Errors
/// [`Error::Database`].
pub async fn for_agent_start(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: Option<&Provider>,
    limit: i64,
) -> Result<Vec<ProvidedMachine>, Error> {
    for_workflow(conn, "workflow_agent_start", process, provider, limit).await
}

/// Lists machines whose agent is silent and due for recovery, under the same conditions as
/// [`for_agent_start`].
///
/// # Errors
/// [`Error::Database`].
pub async fn for_agent_recovery(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: Option<&Provider>,
    limit: i64,
) -> Result<Vec<ProvidedMachine>, Error> {
    for_workflow(conn, "workflow_agent_recovery", process, provider, limit).await
}

/// Lists machines of any workflow's view of provided machines, under the same conditions as
/// [`for_agent_start`].
///
/// # Errors
/// [`Error::Database`], also when there is no such view.
pub async fn for_workflow(
    conn: &mut AsyncPgConnection,
    workflow: &str,
    process: &Process,
    provider: Option<&Provider>,
    limit: i64,
) -> Result<Vec<ProvidedMachine>, Error> {
    Ok(Retrieval {
        workflow,
        process,
        provider,
        limit,
    }
    .load(conn)
    .await?)
}

/// The condition under which `process`, the statement's first bind, may work on the machines of a
/// workflow's view `w` at the time `clock`.
pub(crate) fn push_claimable<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    process: &'b Process,
    clock: &'static str,
) -> QueryResult<()> {
    out.push_sql(" WHERE (w.ready_at IS NULL OR w.ready_at <= ");
    out.push_sql(clock);
    out.push_sql(
        ") AND NOT EXISTS (SELECT 1 FROM machine_hold h WHERE h.machine_id = w.machine_id) \
         AND NOT EXISTS (SELECT 1 FROM work_item i WHERE i.machine_id = w.machine_id \
         AND i.process = ",
    );
    out.push_bind_param::<Text, _>(process)?;
    out.push_sql(" AND i.backoff_until > ");
    out.push_sql(clock);
    out.push_sql(
        ") AND NOT EXISTS (SELECT 1 FROM work_item l WHERE l.machine_id = w.machine_id \
         AND l.session_id IS NOT NULL AND l.lane = \
         coalesce((SELECT d.lane FROM process_def d WHERE d.process = $1), $1))",
    );
    Ok(())
}

struct Retrieval<'a> {
    workflow: &'a str,
    process: &'a Process,
    provider: Option<&'a Provider>,
    limit: i64,
}

cached_by_text!(Retrieval -> diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<ProvidedMachine, Pg>>);

impl QueryFragment<Pg> for Retrieval<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT p.machine_id, p.provider, p.provider_id, p.provider_reservation_id, \
             p.provider_ip_address, p.provider_location, p.provider_status FROM ",
        );
        out.push_identifier(self.workflow)?;
        out.push_sql(" w JOIN machine_provided p ON p.machine_id = w.machine_id");
        push_claimable(&mut out, self.process, "clock_timestamp()")?;
        if let Some(provider) = &self.provider {
            out.push_sql(" AND w.provider = ");
            out.push_bind_param::<Text, _>(provider)?;
        }
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        Ok(())
    }
}
