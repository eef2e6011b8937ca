//! Adding and trimming attempt counts.

use crate::history::Event;
use crate::statement::statement;
use crate::{Error, Process};
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

/// For how many seconds attempt counts are kept: a day, and the current hour.
pub const KEPT_SECONDS: u32 = 25 * 3600;

/// What one component has counted for a process and an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Count {
    pub process: Process,
    pub event: Event,
    /// How many times it happened.
    pub count: i64,
    /// For how many of the attempts that started it is known since when they were due.
    pub waits: i64,
    /// The sum of those waiting times, in milliseconds.
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

/// Adds a component's counts since its last call to the current minute, in one statement. `writer`
/// identifies the running component, so that no two components write the same row. Each pair of process
/// and event occurs once.
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

/// Merges the rows of single components for minutes that are over, and deletes rows older than
/// [`KEPT_SECONDS`], up to `rows` of each. Returns how many rows are gone.
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

/// Returns how many rows [`trim`] would remove now. Reads only.
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
