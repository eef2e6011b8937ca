//! Lists of backoffs, by when they end.

use crate::page::{InvalidKey, Page, Parts, join};
use crate::statement::statement;
use crate::{Error, MachineId, Process, Provider};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::fmt;
use std::str::FromStr;

/// A backoff whose machine nobody works on.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct ListedBackoff {
    /// The machine.
    pub machine: MachineId,
    /// The process.
    pub process: Process,
    /// Where the machine comes from, as planned.
    pub provider: Option<Provider>,
    /// When it ends, or ended.
    pub until: DateTime<Utc>,
    /// Why the last attempt failed; none after a loss without a failure before it.
    pub cause: Option<String>,
    /// How many times in a row the process has failed there.
    pub failures: i64,
    /// How many times in a row it was lost there.
    pub losses: i64,
    /// The interval the next one grows from, in seconds; none after a loss without a failure before it.
    pub last_interval_seconds: Option<i64>,
    /// Whether the machine still needs the process: where it does not, nobody will try again.
    pub is_eligible: bool,
}

/// Which backoffs are listed, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// Those in force, the one that ends first first.
    Active,
    /// Those whose time has passed without anybody having claimed the work, the one that ended last first.
    Expired,
}

/// Where a page of [`page`] begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackoffKey {
    until: DateTime<Utc>,
    machine: MachineId,
    process: Process,
}

impl fmt::Display for BackoffKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(
            f,
            &[&self.until.timestamp_micros(), &self.machine, &self.process],
        )
    }
}

impl FromStr for BackoffKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let mut parts = Parts::of(text);
        let (until, machine, process) = (parts.time()?, parts.parse()?, parts.parse()?);
        parts.end()?;
        Ok(Self {
            until,
            machine,
            process,
        })
    }
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

/// A list of one process's backoffs, or of all: whose there are is then found by one step down the index
/// for each process.
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

/// Up to `limit` backoffs, of one process or of all. Those of items that somebody holds are left out:
/// that is work ([`crate::work::claimed`]).
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
