//! The state of a fleet in a few numbers, each at a cost that does not grow with the fleet.

use crate::statement::statement;
use crate::time::Timestamptz;
use crate::work::STUCK_AFTER;
use crate::{Error, MachineId, Process, Provider};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// How many claimed items and how many sessions are read at most.
const MOST: i64 = 10_000;

/// The machine that has been due for a process the longest.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct OldestDue {
    pub process: Process,
    /// Whether it may only seem due: heartbeats move the deadlines of a process that replans on claim
    /// without planning, and the next claim finds out.
    pub is_possibly_due: bool,
    pub machine: MachineId,
    /// The machine's provider, as planned.
    pub provider: Option<Provider>,
    /// Since when it is due.
    pub since: DateTime<Utc>,
}

statement! {
    OldestDues = include_str!("sql/oldest_due.sql");
    () -> (Text, Bool, SqlUuid, Nullable<Text>, Timestamptz)
}

/// Returns the longest due machine of each process that has a workflow and due machines. Costs a step
/// down an index for each process and provider.
///
/// # Errors
/// [`Error::Database`].
pub async fn oldest_due(conn: &mut AsyncPgConnection) -> Result<Vec<OldestDue>, Error> {
    Ok(OldestDues {}.load(conn).await?)
}

/// Numbers about claimed work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClaimedSummary {
    /// How many items are claimed; a lower bound if not all were read.
    pub claimed: i64,
    /// How many of them have been claimed for longer than [`STUCK_AFTER`].
    pub stuck: i64,
    /// Whether all claimed items were read. Of more than 10,000, the numbers describe a sample of that
    /// size, drawn by machine id.
    pub is_all: bool,
    /// How long claimed items had been due when they were claimed; `None` if that is known for none of
    /// them.
    pub latency: Option<Latency>,
}

/// The time from when machines were due to when they were claimed, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Latency {
    /// For how many machines it is known.
    pub of: i64,
    /// The median.
    pub p50_ms: i64,
    /// The 95th percentile.
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

/// Summarises claimed work. Reads at most 10,000 items.
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
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SessionSummary {
    /// Sessions whose deadline is ahead.
    pub live: i64,
    /// Sessions whose deadline has passed and that no janitor has removed yet.
    pub dead: i64,
}

statement! {
    Sessions = "SELECT count(*) FILTER (WHERE is_live), count(*) FILTER (WHERE NOT is_live) \
             FROM (SELECT session_deadline > clock_timestamp() AS is_live FROM sessions LIMIT $1) s";
    (most: i64 => BigInt) -> (BigInt, BigInt)
}

/// Counts sessions, at most 10,000.
///
/// # Errors
/// [`Error::Database`].
pub async fn sessions(conn: &mut AsyncPgConnection) -> Result<SessionSummary, Error> {
    Ok(Sessions { most: MOST }.get_result(conn).await?)
}
