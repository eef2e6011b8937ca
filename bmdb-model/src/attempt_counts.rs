//! The tally: how many attempts started and ended in each minute, for people. Nothing decides by it.
//!
//! The history cannot be asked for that: it is kept by machine, and folds.

use crate::history::Event;
use crate::statement::statement;
use crate::{Error, Process};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

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
