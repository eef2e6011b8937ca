//! The counts behind the metrics.
//!
//! All of them read whole tables, so sample them and do not poll them; they lock nothing. What is
//! counted as pending is counted through the workflows' views and the condition that live retrievals
//! have, so it is what could be claimed. The clock is the statement's beginning, or the
//! transaction's as in lists: one that goes on ticking keeps the planner from joining, and then each
//! machine is looked up by itself, a million times.

use crate::fleet::ItemState;
use crate::retrieval::push_claimable;
use crate::statement::statement;
use crate::{Error, Process, ProcessDef};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// The fleet in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Queryable)]
pub struct FleetCounts {
    /// Machines.
    pub machines: i64,
    /// Machines with the tag `provided`.
    pub provided: i64,
    /// Machines with the tag `agent_started`.
    pub agent_started: i64,
    /// Machines whose agent sends heartbeats, installed ones too: the last one is not so long ago that
    /// the view `agent_silence` calls it silent.
    pub heartbeating: i64,
    /// Machines whose request for an installation is not settled by a report of its generation.
    pub installation_pending: i64,
    /// Machines whose latest request is settled with success.
    pub installed: i64,
    /// Machines on hold.
    pub on_hold: i64,
    /// Sessions whose deadline has not passed.
    pub live_sessions: i64,
    /// Sessions whose deadline has passed and that no janitor has removed yet.
    pub dead_sessions: i64,
}

/// A process in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct ProcessCounts {
    /// The process.
    pub process: Process,
    /// Eligible machines.
    pub eligible: i64,
    /// Machines that could be claimed now, but for their lanes; not known from the work items of a
    /// time-driven process, whose deadlines heartbeats move without planning: among what seems due
    /// there are machines that the next claim only re-arms.
    pub due: Option<i64>,
    /// Claimed machines.
    pub claimed: i64,
    /// Machines claimed for more than an hour.
    pub stuck: i64,
    /// Backoffs in force; one whose time has passed is not counted.
    pub backing_off: i64,
    /// Machines that will be due by themselves; see [`ItemState::Waiting`].
    pub waiting: i64,
    /// All other machines there are, whether they have a work item or not; see
    /// [`ItemState::NotEligible`].
    pub not_eligible: i64,
    /// Machines in the view `work_poisoned`: on which it is lost, or fails, again and again.
    pub poisoned: i64,
}

/// What waits for a process, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCounts {
    /// The process.
    pub process: Process,
    /// Machines that could be claimed now.
    pub machines: i64,
    /// For how long the one that waits longest has been due, in seconds; none when none waits.
    pub oldest_due_seconds: Option<i64>,
}

statement! {
    Fleet = "SELECT (SELECT count(*) FROM machines), (SELECT count(*) FROM machine_provided), \
             (SELECT count(*) FROM machine_agent_started), \
             (SELECT count(*) FROM agent_silence \
              JOIN machine_agent_heartbeat USING (machine_id) WHERE silent_at > statement_timestamp()), \
             (SELECT count(*) FROM machine_os_installation_request r WHERE NOT EXISTS \
              (SELECT 1 FROM os_installation_settled o WHERE o.machine_id = r.machine_id)), \
             (SELECT count(*) FROM os_installation_settled WHERE os_installation_result = 'Success'), \
             (SELECT count(*) FROM machine_hold), \
             (SELECT count(*) FROM sessions WHERE session_deadline > statement_timestamp()), \
             (SELECT count(*) FROM sessions WHERE session_deadline <= statement_timestamp())";
    () -> (BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt)
}

/// Counts the fleet; reads the tables of tags and of sessions.
///
/// # Errors
/// [`Error::Database`].
pub async fn fleet(conn: &mut AsyncPgConnection) -> Result<FleetCounts, Error> {
    Ok(Fleet {}.get_result(conn).await?)
}

/// Counts the work items of every process that has any; reads all of them. A state has as many machines
/// as [`crate::fleet::page`] lists in the same transaction.
///
/// # Errors
/// [`Error::Database`].
pub async fn processes(conn: &mut AsyncPgConnection) -> Result<Vec<ProcessCounts>, Error> {
    Ok(Processes.load(conn).await?)
}

/// Counts the machines that a process could work on now; reads all that its workflow's view does. None
/// without a workflow.
///
/// # Errors
/// [`Error::Database`], also when there is no such view.
pub async fn pending(
    conn: &mut AsyncPgConnection,
    definition: &ProcessDef,
) -> Result<Option<PendingCounts>, Error> {
    let process = &definition.process;
    let Some(workflow) = &definition.workflow else {
        return Ok(None);
    };
    let (machines, oldest_due_seconds) = Pending { workflow, process }.get_result(conn).await?;
    Ok(Some(PendingCounts {
        process: process.clone(),
        machines,
        oldest_due_seconds,
    }))
}

/// What a state is, only [`ItemState`] says.
#[derive(QueryId)]
struct Processes;

impl diesel::query_builder::Query for Processes {
    type SqlType = (
        Text,
        BigInt,
        Nullable<BigInt>,
        BigInt,
        BigInt,
        BigInt,
        BigInt,
        BigInt,
        BigInt,
    );
}

impl QueryFragment<Pg> for Processes {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for part in [
            "SELECT i.process, count(*) FILTER (WHERE i.eligible), \
             CASE WHEN NOT coalesce(bool_or(d.time_driven), false) THEN count(*) FILTER (WHERE ",
            ItemState::Due.condition(),
            ") END, count(*) FILTER (WHERE ",
            ItemState::Claimed.condition(),
            "), count(*) FILTER (WHERE i.started_at < now() - interval '1 hour'), \
             count(*) FILTER (WHERE ",
            ItemState::BackingOff.condition(),
            "), count(*) FILTER (WHERE ",
            ItemState::Waiting.condition(),
            // Machines without an item are not eligible.
            "), (SELECT count(*) FROM machines) - count(*) FILTER (WHERE NOT (",
            ItemState::NotEligible.condition(),
            ")), count(p.machine_id) \
             FROM work_item i LEFT JOIN process_def d ON d.process = i.process \
             LEFT JOIN work_poisoned p ON p.machine_id = i.machine_id AND p.process = i.process \
             GROUP BY i.process ORDER BY i.process",
        ] {
            out.push_sql(part);
        }
        Ok(())
    }
}

/// Cached by its text: the workflow is part of it.
struct Pending<'a> {
    workflow: &'a str,
    process: &'a Process,
}

impl QueryId for Pending<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl diesel::query_builder::Query for Pending<'_> {
    type SqlType = (BigInt, Nullable<BigInt>);
}

impl QueryFragment<Pg> for Pending<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // What is ready at once has waited since it was planned. A century is long enough, and infinity
        // cannot be subtracted from.
        out.push_sql(
            "SELECT count(*), extract(epoch FROM statement_timestamp() - min(greatest( \
             coalesce(w.ready_at, q.plan_at, statement_timestamp()), q.backoff_until, \
             statement_timestamp() - interval '100 years')))::bigint FROM ",
        );
        out.push_identifier(self.workflow)?;
        out.push_sql(" w LEFT JOIN work_item q ON q.machine_id = w.machine_id AND q.process = ");
        out.push_bind_param::<Text, _>(self.process)?;
        push_claimable(&mut out, self.process, "statement_timestamp()")
    }
}
