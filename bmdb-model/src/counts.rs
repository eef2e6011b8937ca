//! The counts behind the metrics.

use crate::statement::statement;
use crate::{Error, Process};
use diesel::prelude::*;
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
    /// Machines on hold.
    pub on_hold: i64,
    /// Sessions whose deadline has not passed.
    pub live_sessions: i64,
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
    /// Machines held.
    pub held: i64,
    /// Backoffs in force; one whose time has passed is not counted.
    pub backing_off: i64,
}

statement! {
    Fleet = "SELECT (SELECT count(*) FROM machines), (SELECT count(*) FROM machine_provided), \
             (SELECT count(*) FROM machine_agent_started), (SELECT count(*) FROM machine_hold), \
             (SELECT count(*) FROM sessions WHERE session_deadline > clock_timestamp())";
    () -> (BigInt, BigInt, BigInt, BigInt, BigInt)
}

/// Counts the fleet; reads whole tables, so sample it, do not poll it.
///
/// # Errors
/// [`Error::Database`].
pub async fn fleet(conn: &mut AsyncPgConnection) -> Result<FleetCounts, Error> {
    Ok(Fleet {}.get_result(conn).await?)
}

statement! {
    Processes = "SELECT i.process, count(*) FILTER (WHERE i.eligible), \
             CASE WHEN NOT coalesce(bool_or(d.time_driven), false) THEN count(*) FILTER \
                 (WHERE i.eligible AND i.session_id IS NULL AND i.ready_at <= clock_timestamp()) END, \
             count(*) FILTER (WHERE i.session_id IS NOT NULL), \
             count(*) FILTER (WHERE i.session_id IS NULL AND i.backoff_until > clock_timestamp()) \
             FROM work_item i LEFT JOIN process_def d ON d.process = i.process \
             GROUP BY i.process ORDER BY i.process";
    () -> (Text, BigInt, Nullable<BigInt>, BigInt, BigInt)
}

/// Counts the work items of every process that has any; reads the whole table.
///
/// # Errors
/// [`Error::Database`].
pub async fn processes(conn: &mut AsyncPgConnection) -> Result<Vec<ProcessCounts>, Error> {
    Ok(Processes {}.load(conn).await?)
}
