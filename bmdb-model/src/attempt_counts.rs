//! The tally: how many attempts started and ended in each minute, for people. Nothing decides by it.
//!
//! The history cannot be asked for that: it is kept by machine, and folds.

use crate::history::Event;
use crate::statement::statement;
use crate::{Error, Process};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

/// For how many seconds the tally is kept: a day, and the hour that is being looked at.
pub const KEPT_SECONDS: u32 = 25 * 3600;

/// What one component has counted of a process and an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The process.
    pub process: Process,
    /// What happened.
    pub event: Event,
    /// How many times.
    pub count: i64,
    /// Of how many of those that started it is known since when they were due.
    pub waits: i64,
    /// For how many milliseconds these had been due, altogether.
    pub waited_ms: i64,
}

/// What happened in a minute.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Minute {
    /// When it began, by the database's clock. What happened in its first seconds may be told of the
    /// one before, and what happened before in it: components tell every few seconds.
    pub minute: DateTime<Utc>,
    /// The process.
    pub process: Process,
    /// What happened.
    pub event: Event,
    /// How many times.
    pub count: i64,
    /// See [`Count::waits`].
    pub waits: i64,
    /// See [`Count::waited_ms`].
    pub waited_ms: i64,
}

statement! {
    Add<'a> = include_str!("sql/add_attempt_counts.sql");
    (
        writer: Uuid => SqlUuid, processes: &'a [&'a Process] => Array<Text>,
        events: &'a [Event] => Array<Text>, counts: &'a [i64] => Array<BigInt>,
        waits: &'a [i64] => Array<BigInt>, waited_ms: &'a [i64] => Array<BigInt>
    ) -> ()
}

/// Adds what a component has counted since it last did to the minute that is now, in one statement.
/// The writer is an id of the component that runs: no two of them write the same row. Each pair of
/// process and event comes once.
///
/// # Errors
/// [`Error::Database`].
pub async fn add(
    conn: &mut AsyncPgConnection,
    writer: Uuid,
    counts: &[Count],
) -> Result<(), Error> {
    let add = Add {
        writer,
        processes: &counts.iter().map(|c| &c.process).collect::<Vec<_>>(),
        events: &counts.iter().map(|c| c.event).collect::<Vec<_>>(),
        counts: &counts.iter().map(|c| c.count).collect::<Vec<_>>(),
        waits: &counts.iter().map(|c| c.waits).collect::<Vec<_>>(),
        waited_ms: &counts.iter().map(|c| c.waited_ms).collect::<Vec<_>>(),
    };
    add.execute(conn).await?;
    Ok(())
}

statement! {
    Trim = concat!(include_str!("sql/attempt_counts_surplus.sql"), include_str!("sql/trim_attempt_counts.sql"));
    (kept_seconds: i64 => BigInt, rows: i64 => BigInt) -> BigInt
}

/// Adds up the rows of single components of minutes that are over, and deletes what is older than
/// [`KEPT_SECONDS`], up to so many rows of each; returns how many rows are gone by that.
///
/// # Errors
/// [`Error::Database`].
pub async fn trim(conn: &mut AsyncPgConnection, rows: u32) -> Result<u64, Error> {
    let trim = Trim {
        kept_seconds: KEPT_SECONDS.into(),
        rows: rows.into(),
    };
    let gone: i64 = trim.get_result(conn).await?;
    Ok(gone.unsigned_abs())
}

statement! {
    Surplus = "SELECT count(*) FROM ( \
             (SELECT minute, process, event, writer FROM attempt_tally \
              WHERE minute < now() - $1 * interval '1 second' ORDER BY minute LIMIT $2) \
             UNION (SELECT minute, process, event, writer FROM attempt_tally \
              WHERE writer <> '00000000-0000-0000-0000-000000000000' \
                AND minute < date_trunc('minute', now()) - interval '1 minute' \
              ORDER BY minute LIMIT $2)) surplus";
    (kept_seconds: i64 => BigInt, rows: i64 => BigInt) -> BigInt
}

/// How many rows would be gone by [`trim`] now. Reads only.
///
/// # Errors
/// [`Error::Database`].
pub async fn surplus(conn: &mut AsyncPgConnection, rows: u32) -> Result<u64, Error> {
    let surplus = Surplus {
        kept_seconds: KEPT_SECONDS.into(),
        rows: rows.into(),
    };
    let found: i64 = surplus.get_result(conn).await?;
    Ok(found.unsigned_abs())
}

statement! {
    // Not clock_timestamp(), which is no bound for an index.
    Last = "SELECT minute, process, event, sum(count)::bigint, sum(waits)::bigint, sum(waited_ms)::bigint \
             FROM attempt_tally \
             WHERE minute > date_trunc('minute', now()) - $1 * interval '1 minute' \
             GROUP BY minute, process, event ORDER BY minute, process, event";
    (minutes: i64 => BigInt) -> (Timestamptz, Text, Text, BigInt, BigInt, BigInt)
}

/// What happened in the last so many minutes, the one that is now among them, the oldest first.
/// Minutes, processes and events of which there was nothing are left out.
///
/// # Errors
/// [`Error::Database`].
pub async fn last_minutes(
    conn: &mut AsyncPgConnection,
    minutes: u32,
) -> Result<Vec<Minute>, Error> {
    let last = Last {
        minutes: minutes.into(),
    };
    Ok(last.load(conn).await?)
}
