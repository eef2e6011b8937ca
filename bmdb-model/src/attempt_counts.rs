//! Attempt counts: how many attempts started and ended in each minute. They are for people; no decision
//! depends on them.
//!
//! The history cannot answer this: it is stored by machine, and folds equal failures.

use crate::history::Event;
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, Process};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What happened to a process in one minute.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Minute {
    /// When the minute began, by the database's clock. Components flush their counts every few seconds,
    /// so what happens near the boundary of two minutes may be counted in either.
    pub minute: DateTime<Utc>,
    pub process: Process,
    pub event: Event,
    /// How many times it happened.
    pub count: i64,
    /// For how many of the attempts that started it is known since when they were due.
    pub waits: i64,
    /// The sum of those waiting times, in milliseconds.
    pub waited_ms: i64,
}

impl Minute {
    /// A count without waiting times.
    #[must_use]
    pub const fn new(minute: DateTime<Utc>, process: Process, event: Event, count: i64) -> Self {
        Self {
            minute,
            process,
            event,
            count,
            waits: 0,
            waited_ms: 0,
        }
    }
}

statement! {
    // `now()` and not `clock_timestamp()`, which cannot bound an index scan.
    Last = "SELECT minute, process, event, least(sum(count), 9223372036854775807)::bigint, \
             least(sum(waits), 9223372036854775807)::bigint, least(sum(waited_ms), 9223372036854775807)::bigint \
             FROM attempt_tally \
             WHERE minute > date_trunc('minute', now()) - $1 * interval '1 minute' \
             GROUP BY minute, process, event ORDER BY minute, process, event";
    (minutes: i64 => BigInt) -> (Timestamptz, Text, Text, BigInt, BigInt, BigInt)
}

/// Returns the counts of the last `minutes` minutes including the current one, the oldest first.
/// Minutes, processes and events without a count are left out.
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
