//! The counts behind the metrics.
//!
//! All of them read whole tables and lock nothing: sample them, do not poll them. Pending machines are
//! counted through the workflows' views, under the same condition as in live retrievals, so the count
//! is what could be claimed. The clock is the time at which the statement or the transaction began,
//! because `clock_timestamp()` keeps the planner from joining: it would look up each of a million
//! machines separately.

use crate::fleet::{CLOSED, ItemState};
use crate::retrieval::push_claimable;
use crate::statement::{Numbered, cached_by_text, statement};
use crate::work::{FAILING, RESTING};
use crate::{Error, Process, ProcessDef};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Counts of the whole fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct FleetCounts {
    pub machines: i64,
    /// Machines with the tag `provided`.
    pub provided: i64,
    /// Machines with the tag `agent_started`.
    pub agent_started: i64,
    /// Machines whose agent sends heartbeats, installed ones included: the last heartbeat is recent
    /// enough for the view `agent_quiet`.
    pub heartbeating: i64,
    /// Machines whose installation request has no report of its generation yet.
    pub installation_pending: i64,
    /// Machines whose latest request was reported as a success.
    pub installed: i64,
    /// Machines on hold.
    pub on_hold: i64,
    /// Sessions whose deadline has not passed.
    pub live_sessions: i64,
    /// Sessions whose deadline has passed and that no janitor has removed yet.
    pub dead_sessions: i64,
}

/// Counts of a process.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct ProcessCounts {
    pub process: Process,
    /// Eligible machines.
    pub eligible: i64,
    /// Machines that could be claimed now, if their lanes are free. `None` for a process that replans
    /// on claim: heartbeats move its deadlines without planning, so some machines that seem due are
    /// only replanned by the next claim.
    pub due: Option<i64>,
    /// Machines that are due while a limit leaves no room for another start; `None` like `due`.
    pub limited: Option<i64>,
    /// Machines that are due while the process is paused for them; `None` like `due`.
    pub paused: Option<i64>,
    /// Claimed machines.
    pub claimed: i64,
    /// Machines that have been claimed for more than an hour.
    pub stuck: i64,
    /// Backoffs in force. A backoff whose time has passed is not counted.
    pub backing_off: i64,
    /// Machines that become due at a known time; see [`ItemState::Waiting`].
    pub waiting: i64,
    /// All other machines, with or without a work item; see [`ItemState::NotEligible`].
    pub not_eligible: i64,
    /// Machines in the view `work_poisoned`: the process repeatedly fails or expires on them.
    pub poisoned: i64,
    /// Machines that need the process and on which its last attempt failed: backing off or due again.
    pub failing: i64,
    /// Machines that back off although the process succeeds on them: it leaves them due, or is needed
    /// again at once.
    pub resting: i64,
}

impl ProcessCounts {
    /// The counts of a process without work items; what is due is unknown.
    #[must_use]
    pub const fn new(process: Process) -> Self {
        Self {
            process,
            eligible: 0,
            due: None,
            limited: None,
            paused: None,
            claimed: 0,
            stuck: 0,
            backing_off: 0,
            waiting: 0,
            not_eligible: 0,
            poisoned: 0,
            failing: 0,
            resting: 0,
        }
    }
}

/// The machines that wait for a process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct PendingCounts {
    pub process: Process,
    /// Machines that could be claimed now if neither a limit nor a pause were in the way.
    pub machines: i64,
    /// How many of them a limit keeps from being claimed now.
    pub limited: i64,
    /// How many of them a pause keeps from being claimed.
    pub paused: i64,
    /// For how many seconds the machine that has waited longest has been due; `None` when none waits. Paused
    /// machines do not count: somebody has decided that they wait.
    pub oldest_due_seconds: Option<i64>,
}

statement! {
    Fleet = "SELECT (SELECT count(*) FROM machines), (SELECT count(*) FROM machine_provided), \
             (SELECT count(*) FROM machine_agent_started), \
             (SELECT count(*) FROM agent_quiet \
              JOIN machine_agent_heartbeat USING (machine_id) WHERE quiet_at > statement_timestamp()), \
             (SELECT count(*) FROM machine_os_installation_request r WHERE NOT EXISTS \
              (SELECT 1 FROM os_installation_settled o WHERE o.machine_id = r.machine_id)), \
             (SELECT count(*) FROM os_installation_settled WHERE os_installation_result = 'Success'), \
             (SELECT count(*) FROM machine_hold), \
             (SELECT count(*) FROM sessions WHERE session_deadline > statement_timestamp()), \
             (SELECT count(*) FROM sessions WHERE session_deadline <= statement_timestamp())";
    () -> (BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt)
}

/// Counts the fleet. Reads the tables of tags and of sessions.
///
/// # Errors
/// [`Error::Database`].
pub async fn fleet(conn: &mut AsyncPgConnection) -> Result<FleetCounts, Error> {
    Ok(Fleet {}.get_result(conn).await?)
}

/// Counts the work items of every process that has any. Reads all of them. Each count equals the number
/// of machines that [`crate::fleet::page`] lists in the same transaction.
///
/// # Errors
/// [`Error::Database`].
pub async fn processes(conn: &mut AsyncPgConnection) -> Result<Vec<ProcessCounts>, Error> {
    Ok(Processes.load(conn).await?)
}

/// Counts the machines that a process could work on now. Reads everything that its workflow's view
/// reads. `None` for a process without a workflow.
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
    let (machines, limited, paused, oldest_due_seconds) =
        Pending { workflow, process }.get_result(conn).await?;
    Ok(Some(PendingCounts {
        process: process.clone(),
        machines,
        limited,
        paused,
        oldest_due_seconds,
    }))
}

/// The conditions of the states are defined by [`ItemState`] alone.
#[derive(QueryId)]
struct Processes;

impl diesel::query_builder::Query for Processes {
    type SqlType = (
        Text,
        BigInt,
        Nullable<BigInt>,
        Nullable<BigInt>,
        Nullable<BigInt>,
        BigInt,
        BigInt,
        BigInt,
        BigInt,
        BigInt,
        BigInt,
        BigInt,
        BigInt,
    );
}

/// `None` for a process that replans on claim.
const UNLESS_REPLANNED: &str =
    "CASE WHEN NOT coalesce(bool_or(d.time_driven), false) THEN count(*) FILTER (WHERE ";

/// Whether an item is in a closed queue. The server hashes these queues once.
const IN_CLOSED: &str =
    "(i.process, coalesce(i.provider, '')) IN (SELECT c.process, c.provider FROM closed c";

impl QueryFragment<Pg> for Processes {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let closed = Numbered::new(CLOSED);
        let (before, closed) = closed.up_to_next_bind();
        out.push_sql(before);
        out.push_bind_param::<Nullable<Text>, _>(&None::<String>)?;
        for part in [
            closed.rest(),
            "SELECT i.process, count(*) FILTER (WHERE i.eligible), ",
            UNLESS_REPLANNED,
            ItemState::Due.condition(),
            " AND NOT ",
            IN_CLOSED,
            ")) END, ",
            UNLESS_REPLANNED,
            ItemState::Limited.condition(),
            " AND ",
            IN_CLOSED,
            " WHERE c.state = 'limited')) END, ",
            UNLESS_REPLANNED,
            ItemState::Paused.condition(),
            " AND ",
            IN_CLOSED,
            " WHERE c.state = 'paused')) END, count(*) FILTER (WHERE ",
            ItemState::Claimed.condition(),
            "), count(*) FILTER (WHERE i.started_at < now() - interval '1 hour'), \
             count(*) FILTER (WHERE ",
            ItemState::BackingOff.condition(),
            "), count(*) FILTER (WHERE ",
            ItemState::Waiting.condition(),
            // Machines without an item are not eligible.
            "), (SELECT count(*) FROM machines) - count(*) FILTER (WHERE NOT (",
            ItemState::NotEligible.condition(),
            ")), count(p.machine_id), count(*) FILTER (WHERE ",
            FAILING,
            "), count(*) FILTER (WHERE ",
            RESTING,
            ") FROM work_item i LEFT JOIN process_def d ON d.process = i.process \
             LEFT JOIN work_poisoned p ON p.machine_id = i.machine_id AND p.process = i.process \
             GROUP BY i.process ORDER BY i.process",
        ] {
            out.push_sql(part);
        }
        Ok(())
    }
}

/// Diesel caches it by its text, because the text contains the workflow.
struct Pending<'a> {
    workflow: &'a str,
    process: &'a Process,
}

cached_by_text!(Pending -> (BigInt, BigInt, BigInt, Nullable<BigInt>));

impl QueryFragment<Pg> for Pending<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Counted by queue first, because each queue is limited or paused as a whole. An item that is ready
        // at once has waited since it was planned. A hundred years is the limit, because infinity cannot be
        // subtracted.
        out.push_sql(
            "SELECT coalesce(sum(n.machines), 0)::bigint, \
             coalesce(sum(n.machines) FILTER (WHERE g.is_limited AND NOT g.is_paused), 0)::bigint, \
             coalesce(sum(n.machines) FILTER (WHERE g.is_paused), 0)::bigint, \
             extract(epoch FROM statement_timestamp() - min(n.since) FILTER (WHERE NOT g.is_paused))::bigint \
             FROM (SELECT coalesce(q.provider, w.provider) AS provider, count(*) AS machines, min(greatest( \
             coalesce(w.ready_at, q.plan_at, statement_timestamp()), q.backoff_until, \
             statement_timestamp() - interval '100 years')) AS since FROM ",
        );
        out.push_identifier(self.workflow)?;
        out.push_sql(" w LEFT JOIN work_item q ON q.machine_id = w.machine_id AND q.process = ");
        out.push_bind_param::<Text, _>(self.process)?;
        push_claimable(&mut out, self.process, "statement_timestamp()")?;
        out.push_sql(
            " GROUP BY 1) n CROSS JOIN LATERAL ( \
             SELECT coalesce(bool_or(p.gate = 'Paused'), false) AS is_paused, count(*) > 0 AS is_limited \
             FROM process_gates($1, n.provider) p WHERE p.room = 0) g",
        );
        Ok(())
    }
}
