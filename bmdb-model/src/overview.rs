//! The state of a fleet in a few numbers, each at a cost that does not grow with it.

use crate::statement::statement;
use crate::work::STUCK_AFTER;
use crate::{Error, MachineId, Process, Provider};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// How many held items, and how many sessions, are looked at.
const MOST: i64 = 10_000;

/// The machine that a process has kept waiting for longest.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct OldestDue {
    /// The process.
    pub process: Process,
    /// Whether it may only seem due: heartbeats move the deadlines of a time-driven process without
    /// being planned, and the next claim finds that out.
    pub is_possibly_due: bool,
    /// The machine.
    pub machine: MachineId,
    /// Where it comes from, as planned.
    pub provider: Option<Provider>,
    /// Since when it is due.
    pub since: DateTime<Utc>,
}

statement! {
    OldestDues = include_str!("sql/oldest_due.sql");
    () -> (Text, Bool, SqlUuid, Nullable<Text>, Timestamptz)
}

/// What has been due for longest, of each process with a workflow that has anything due. Costs a step
/// down an index for each process and provider.
///
/// # Errors
/// [`Error::Database`].
pub async fn oldest_due(conn: &mut AsyncPgConnection) -> Result<Vec<OldestDue>, Error> {
    Ok(OldestDues {}.load(conn).await?)
}

/// How it is with what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedSummary {
    /// How many items are held: so many at least, where not all were looked at.
    pub claimed: i64,
    /// How many of them for longer than [`STUCK_AFTER`].
    pub stuck: i64,
    /// Whether all were looked at: where more than 10,000 are held, the numbers are about as many of
    /// them, drawn by their machines' ids.
    pub is_all: bool,
    /// How long what is held had been due when it was claimed; `None` where that is known of nothing.
    pub latency: Option<Latency>,
}

/// From when machines were due to when they were claimed, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Of how many machines it is known.
    pub of: i64,
    /// The median.
    pub p50_ms: i64,
    /// 95 of 100 had waited no longer.
    pub p95_ms: i64,
    /// The longest.
    pub max_ms: i64,
}

type SummaryRow = (i64, i64, i64, Option<i64>, Option<i64>, Option<i64>);

statement! {
    Claimed = include_str!("sql/claimed_summary.sql");
    (most: i64 => BigInt, stuck_after: i64 => BigInt)
    -> (BigInt, BigInt, BigInt, Nullable<BigInt>, Nullable<BigInt>, Nullable<BigInt>)
}

/// How it is with what is held. Looks at no more than 10,000 items.
///
/// # Errors
/// [`Error::Database`].
pub async fn claimed(conn: &mut AsyncPgConnection) -> Result<ClaimedSummary, Error> {
    let statement = Claimed {
        most: MOST + 1,
        stuck_after: i64::try_from(STUCK_AFTER.as_secs()).unwrap_or(i64::MAX),
    };
    let (claimed, stuck, of, p50, p95, max): SummaryRow = statement.get_result(conn).await?;
    let latency = p50
        .zip(p95)
        .zip(max)
        .map(|((p50_ms, p95_ms), max_ms)| Latency {
            of,
            p50_ms,
            p95_ms,
            max_ms,
        });
    Ok(ClaimedSummary {
        claimed: claimed.min(MOST),
        stuck,
        is_all: claimed <= MOST,
        latency,
    })
}

/// How many sessions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct SessionSummary {
    /// Those whose deadline is ahead.
    pub live: i64,
    /// Those whose deadline has passed, and that no janitor has removed yet.
    pub dead: i64,
}

statement! {
    Sessions = "SELECT count(*) FILTER (WHERE is_live), count(*) FILTER (WHERE NOT is_live) \
             FROM (SELECT session_deadline > clock_timestamp() AS is_live FROM sessions LIMIT $1) s";
    (most: i64 => BigInt) -> (BigInt, BigInt)
}

/// Counts sessions, 10,000 at most.
///
/// # Errors
/// [`Error::Database`].
pub async fn sessions(conn: &mut AsyncPgConnection) -> Result<SessionSummary, Error> {
    Ok(Sessions { most: MOST }.get_result(conn).await?)
}
