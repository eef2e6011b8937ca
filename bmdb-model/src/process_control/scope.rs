//! Whom a pause or a switch concerns: what runs, and how many machines need the process.

use crate::statement::{cached_by_text, statement};
use crate::{Error, Fence, MachineId, Process, Provider, SessionId};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// An attempt that runs.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct RunningAttempt {
    pub machine: MachineId,
    /// The session that has claimed the machine.
    pub session: SessionId,
    /// The claim's fence.
    pub fence: Fence,
}

statement! {
    Running<'a> = "SELECT i.machine_id, i.session_id, i.fence \
                   FROM work_item i LEFT JOIN machine_provided m ON m.machine_id = i.machine_id \
                   WHERE i.session_id IS NOT NULL AND i.process = $1 \
                     AND ($2::text IS NULL OR coalesce(i.provider, m.provider) = $2) \
                   ORDER BY i.machine_id";
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>)
    -> (SqlUuid, SqlUuid, BigInt)
}

/// Lists the attempts on a process that run now, on all machines or on those of a provider.
///
/// # Errors
/// [`Error::Database`].
pub async fn running(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: Option<&Provider>,
) -> Result<Vec<RunningAttempt>, Error> {
    Ok(Running { process, provider }.load(conn).await?)
}

/// How many machines a workflow lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Need {
    /// All of them, also those that need the process later.
    pub listed: i64,
    /// Those that need it now.
    pub due: i64,
}

struct Count<'a> {
    workflow: &'a str,
}

cached_by_text!(Count -> (BigInt, BigInt));

impl QueryFragment<Pg> for Count<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT count(*), count(*) FILTER (WHERE w.ready_at IS NULL OR w.ready_at <= now()) FROM ",
        );
        out.push_identifier(self.workflow)?;
        out.push_sql(" w");
        Ok(())
    }
}

/// Counts the machines that the view of a workflow lists, such as that of a process that is switched off.
///
/// # Errors
/// [`Error::Database`].
pub async fn need(conn: &mut AsyncPgConnection, workflow: &str) -> Result<Need, Error> {
    Ok(Count { workflow }.get_result(conn).await?)
}
