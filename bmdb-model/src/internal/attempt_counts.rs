//! Writing and trimming the counts of attempts by the minute.

use crate::history::Event;
use crate::statement::statement;
use crate::{Error, Process};
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
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

statement! {
    Add<'a> = include_str!("../sql/add_attempt_counts.sql");
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
    Trim = concat!(include_str!("../sql/attempt_counts_surplus.sql"), include_str!("../sql/trim_attempt_counts.sql"));
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
