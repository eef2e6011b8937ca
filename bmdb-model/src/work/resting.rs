//! Machines that rest although nothing has failed: finishes changed nothing there, or do not last.

use crate::page::{Page, key};
use crate::statement::statement;
use crate::{Error, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Why a machine rests although its process finishes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum RestCause {
    /// So many finishes in a row have left the machine due.
    Unproductive(i64),
    /// So many finishes in a row came each soon after the one before.
    Flapping(i64),
}

impl RestCause {
    /// By the counts of an item; `None` if it has no reason to rest.
    pub(crate) const fn of(unproductive: i64, flapping: i64) -> Option<Self> {
        match (unproductive, flapping) {
            (1.., _) => Some(Self::Unproductive(unproductive)),
            // The first finish of the row is not counted.
            (_, 2..) => Some(Self::Flapping(flapping.saturating_add(1))),
            _ => None,
        }
    }
}

impl std::fmt::Display for RestCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unproductive(1) => f.write_str("unproductive: finished and still due"),
            Self::Unproductive(times) => {
                write!(f, "unproductive: finished {times} times and still due")
            }
            Self::Flapping(times) => {
                write!(f, "flapping: finished {times} times, each time soon after the one before")
            }
        }
    }
}

/// A machine on which a process finishes again and again without an effect that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct RestingWork {
    pub machine: MachineId,
    pub process: Process,
    pub rest: RestCause,
    /// The same for people, with the times of the definition that was in force.
    pub cause: Option<String>,
    /// Until when it rests, or rested.
    pub until: Option<DateTime<Utc>>,
    /// The session that has claimed it now.
    pub session: Option<SessionId>,
}

key! {
    /// Where a page of [`resting`] begins.
    RestingKey { machine: part(MachineId), process: part(Process) }
}

statement! {
    RestingPage<'a> = "SELECT i.machine_id, i.process, i.unproductive, i.flapping, i.cause, i.backoff_until, \
             i.session_id \
         FROM work_item i \
         WHERE (i.unproductive > 0 OR i.flapping >= 2) \
           AND (i.machine_id, i.process) > (coalesce($1::uuid, '00000000-0000-0000-0000-000000000000'), $2::text) \
         ORDER BY i.machine_id, i.process LIMIT $3";
    (machine: Option<MachineId> => Nullable<SqlUuid>, process: &'a str => Text, limit: i64 => BigInt)
    -> (SqlUuid, Text, BigInt, BigInt, Nullable<Text>, Nullable<Timestamptz>, Nullable<SqlUuid>)
}

type Row = (
    MachineId,
    Process,
    i64,
    i64,
    Option<String>,
    Option<DateTime<Utc>>,
    Option<SessionId>,
);

/// Lists up to `limit` items that rest, or have rested and were not finished since, in the order of their
/// machines.
///
/// # Errors
/// [`Error::Database`].
pub async fn resting(
    conn: &mut AsyncPgConnection,
    after: Option<&RestingKey>,
    limit: i64,
) -> Result<Page<RestingWork, RestingKey>, Error> {
    let page = RestingPage {
        machine: after.map(|key| key.machine),
        process: after.map_or("", |key| key.process.as_str()),
        limit: limit + 1,
    };
    let rows: Vec<Row> = page.load(conn).await?;
    let row = |(machine, process, unproductive, flapping, cause, until, session)| {
        Some(RestingWork {
            machine,
            process,
            rest: RestCause::of(unproductive, flapping)?,
            cause,
            until,
            session,
        })
    };
    let rows = rows.into_iter().filter_map(row).collect();
    Ok(Page::of(rows, limit, |last: &RestingWork| RestingKey {
        machine: last.machine,
        process: last.process.clone(),
    }))
}
