//! Lists of backoffs, by when they end.

use crate::page::{Page, key};
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, MachineId, Process, Provider};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A backoff of an unclaimed item.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct ListedBackoff {
    pub machine: MachineId,
    pub process: Process,
    /// The machine's provider, as planned.
    pub provider: Option<Provider>,
    /// When the backoff ends, or ended.
    pub until: DateTime<Utc>,
    /// Why the last attempt failed; `None` after an expired attempt without a failure before it.
    pub cause: Option<String>,
    /// How many times in a row the process has failed there.
    pub failures: i64,
    /// How many times in a row its attempt has expired there.
    pub losses: i64,
    /// The interval from which the next one is computed, in seconds; `None` after an expired attempt
    /// without a failure before it.
    pub last_interval_seconds: Option<i64>,
    /// Whether the machine still needs the process. If not, no component tries again.
    pub is_eligible: bool,
}

/// Which backoffs are listed, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// Backoffs in force, the earliest end first.
    Active,
    /// Backoffs whose time has passed and whose items have not been claimed since, the latest end
    /// first.
    Expired,
}

key! {
    /// Where a page of [`page`] begins.
    BackoffKey { until: time, machine: part(MachineId), process: part(Process) }
}

type Columns = (
    SqlUuid,
    Text,
    Nullable<Text>,
    Timestamptz,
    Nullable<Text>,
    BigInt,
    BigInt,
    Nullable<BigInt>,
    Bool,
);

/// A list of one process's backoffs, or of all processes'. For all of them, one step down the index for
/// each process finds the processes that have any.
macro_rules! of_process {
    ($file:literal) => {
        concat!(
            "WITH process (process) AS (SELECT $1::text)",
            include_str!($file)
        )
    };
}

macro_rules! of_all {
    ($file:literal) => {
        concat!(
            include_str!("../sql/backoff_processes.sql"),
            include_str!($file)
        )
    };
}

macro_rules! pages {
    ($($name:ident = $sql:expr;)*) => {$(
        statement! {
            $name<'a> = $sql;
            (
                process: Option<&'a Process> => Nullable<Text>, until: Option<DateTime<Utc>> => Nullable<Timestamptz>,
                machine: Option<MachineId> => Nullable<SqlUuid>, after_process: &'a str => Text, limit: i64 => BigInt,
            ) -> Columns
        }
    )*};
}

pages! {
    ActiveOfProcess = of_process!("../sql/backoffs_active.sql");
    ActiveOfAll = of_all!("../sql/backoffs_active.sql");
    ExpiredOfProcess = of_process!("../sql/backoffs_expired.sql");
    ExpiredOfAll = of_all!("../sql/backoffs_expired.sql");
}

/// Lists up to `limit` backoffs, of one process or of all. Backoffs of claimed items are left out:
/// [`crate::work::claimed`] lists those.
///
/// # Errors
/// [`Error::Database`].
pub async fn page(
    conn: &mut AsyncPgConnection,
    which: Which,
    process: Option<&Process>,
    after: Option<&BackoffKey>,
    limit: i64,
) -> Result<Page<ListedBackoff, BackoffKey>, Error> {
    macro_rules! load {
        ($statement:ident) => {
            $statement {
                process,
                until: after.map(|key| key.until),
                machine: after.map(|key| key.machine),
                after_process: after.map_or("", |key| key.process.as_str()),
                limit: limit + 1,
            }
            .load(conn)
            .await?
        };
    }
    let rows = match (which, process) {
        (Which::Active, Some(_)) => load!(ActiveOfProcess),
        (Which::Active, None) => load!(ActiveOfAll),
        (Which::Expired, Some(_)) => load!(ExpiredOfProcess),
        (Which::Expired, None) => load!(ExpiredOfAll),
    };
    Ok(Page::of(rows, limit, |last: &ListedBackoff| BackoffKey {
        until: last.until,
        machine: last.machine,
        process: last.process.clone(),
    }))
}
