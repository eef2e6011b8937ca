//! What fails now, by cause, and what rests although it succeeds.

use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, MachineId, Process, Provider};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// How many backoffs of a process, and how many resting items, are read at most.
const MOST: i64 = 5_000;

macro_rules! failing {
    () => {
        "i.eligible AND i.session_id IS NULL AND i.failures > 0 \
         AND (i.ready_at <= now() OR i.backoff_until > now()) \
         AND NOT EXISTS (SELECT FROM machine_hold h WHERE h.machine_id = i.machine_id)"
    };
}

macro_rules! resting {
    () => {
        "i.eligible AND i.session_id IS NULL AND (i.unproductive > 0 OR i.flapping >= 2) \
         AND i.backoff_until > now() \
         AND NOT EXISTS (SELECT FROM machine_hold h WHERE h.machine_id = i.machine_id)"
    };
}

/// The condition of a failing item `i`: the machine needs the process, whose last attempt there failed,
/// and backs off or is due again. What is on hold has been looked at.
pub(crate) const FAILING: &str = failing!();

/// The condition of a resting item `i`: it backs off although its attempts succeed.
pub(crate) const RESTING: &str = resting!();

/// Why a process fails on machines of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct FailureCause {
    pub process: Process,
    /// The machines' provider, as planned.
    pub provider: Option<Provider>,
    /// The text of the last failure.
    pub cause: Option<String>,
    /// On how many machines this was the last failure.
    pub machines: i64,
    /// How many times in a row the process has failed on the one of them where it failed most.
    pub failures: i64,
    /// The machine where it failed last.
    pub machine: MachineId,
    /// When that was; `None` if the history of that machine has no such attempt among its last hundred.
    pub failed_at: Option<DateTime<Utc>>,
}

/// The causes of [`causes`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Causes {
    /// Those of the most machines first.
    pub rows: Vec<FailureCause>,
    /// Whether there are more causes than were asked for.
    pub is_more: bool,
    /// Whether all failing machines were counted. Of a process with more than 5,000 backoffs only as many
    /// were read, those that end last.
    pub is_all: bool,
}

statement! {
    /// Fences grow with time, so the item with the greatest fence failed last.
    ReadCauses<'a> = concat!(
        include_str!("../sql/last_backoffs.sql"),
        ", grouped AS ( \
             SELECT i.process, i.provider, i.cause, count(*) AS machines, max(i.failures) AS failures, \
                    max(i.fence) AS fence, (array_agg(i.machine_id ORDER BY i.fence DESC))[1] AS machine_id \
             FROM looked i WHERE ($3::text IS NULL OR i.provider = $3) AND ",
        failing!(),
        " GROUP BY i.process, i.provider, i.cause ORDER BY machines DESC, fence DESC LIMIT $4 \
         ) \
         SELECT g.process, g.provider, g.cause, g.machines, g.failures, g.machine_id, ( \
                    SELECT a.ended_at FROM ( \
                        SELECT l.* FROM work_attempt l WHERE l.machine_id = g.machine_id \
                        ORDER BY l.fence DESC LIMIT 100 \
                    ) a \
                    WHERE a.process = g.process ORDER BY a.fence DESC LIMIT 1 \
                ), NOT EXISTS (SELECT FROM looked l GROUP BY l.process HAVING count(*) >= $2) \
         FROM grouped g ORDER BY g.machines DESC, g.fence DESC"
    );
    (
        process: Option<&'a Process> => Nullable<Text>, most: i64 => BigInt,
        provider: Option<&'a Provider> => Nullable<Text>, limit: i64 => BigInt
    ) -> (
        (Text, Nullable<Text>, Nullable<Text>, BigInt, BigInt, SqlUuid, Nullable<Timestamptz>), Bool
    )
}

/// Counts the failing machines by process, provider and text of the last failure: up to `limit` causes, of
/// one process or of all, of one provider or of all. Machines on hold do not count.
///
/// # Errors
/// [`Error::Database`].
pub async fn causes(
    conn: &mut AsyncPgConnection,
    process: Option<&Process>,
    provider: Option<&Provider>,
    limit: usize,
) -> Result<Causes, Error> {
    let read = ReadCauses {
        process,
        most: MOST,
        provider,
        limit: i64::try_from(limit).map_or(i64::MAX, |limit| limit.saturating_add(1)),
    };
    let rows: Vec<(FailureCause, bool)> = read.load(conn).await?;
    Ok(Causes {
        is_more: rows.len() > limit,
        is_all: rows.iter().all(|(_, is_all)| *is_all),
        rows: rows
            .into_iter()
            .take(limit)
            .map(|(cause, _)| cause)
            .collect(),
    })
}

/// A process that rests on a machine although nothing failed.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct RestingWork {
    pub machine: MachineId,
    pub process: Process,
    /// The machine's provider, as planned.
    pub provider: Option<Provider>,
    /// How many finishes in a row have left the machine due.
    pub unproductive: i64,
    /// How many finishes in a row came soon after the one before; from 2 on the machine is flapping.
    pub flapping: i64,
    /// Until when it rests.
    pub until: DateTime<Utc>,
    /// What its rest is recorded with.
    pub cause: Option<String>,
}

statement! {
    ReadResting = concat!(
        "SELECT i.machine_id, i.process, i.provider, i.unproductive, i.flapping, i.backoff_until, i.cause \
         FROM (SELECT w.* FROM work_item w WHERE w.unproductive > 0 OR w.flapping >= 2 \
               ORDER BY w.machine_id, w.process LIMIT $1) i WHERE ",
        resting!(),
        " ORDER BY i.machine_id, i.process LIMIT $2"
    );
    (most: i64 => BigInt, limit: i64 => BigInt)
    -> (SqlUuid, Text, Nullable<Text>, BigInt, BigInt, Timestamptz, Nullable<Text>)
}

/// Lists up to `limit` items that rest, in the order of their machines. Reads at most 5,000 items on which
/// that was so at their last finish. Machines on hold are left out.
///
/// # Errors
/// [`Error::Database`].
pub async fn resting(conn: &mut AsyncPgConnection, limit: i64) -> Result<Vec<RestingWork>, Error> {
    Ok(ReadResting { most: MOST, limit }.load(conn).await?)
}
