//! Reading what is said of one process, or of all of them.

use super::breaker::Failures;
use super::limit::Starts;
use super::{
    Breaker, BreakerState, Limit, LimitState, PartitionNeed, PartitionUse, Pause, PauseSource, Per,
    Percent, SlotKind, SlotUse,
};
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, Lane, Process, Provider};
use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A process, what limits it, and whether it is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct ProcessControl {
    pub process: Process,
    pub lane: Lane,
    /// Whether it has a definition.
    pub is_defined: bool,
    /// The view of the machines that need it; `None` without one, and while it is switched off.
    pub workflow: Option<String>,
    /// While it is switched off: the workflow that it has when it is on.
    pub off_workflow: Option<String>,
    /// How many machines are claimed for it.
    pub claimed: i64,
    pub limits: Vec<LimitState>,
    pub breakers: Vec<BreakerState>,
    /// The pauses in force, that of the whole process first.
    pub pauses: Vec<Pause>,
}

impl ProcessControl {
    /// Whether anything limits it or may stop it.
    #[must_use]
    pub fn is_controlled(&self) -> bool {
        !self.limits.is_empty() || !self.breakers.is_empty() || !self.pauses.is_empty()
    }

    /// Whether a breaker has tripped.
    #[must_use]
    pub fn is_tripped(&self) -> bool {
        self.pauses
            .iter()
            .any(|pause| pause.source == PauseSource::Breaker)
    }

    /// Whether the breaker of this partition has tripped, and has stopped what its pause is about.
    #[must_use]
    pub fn is_tripped_for(&self, partition: &PartitionNeed) -> bool {
        self.pauses.iter().any(|pause| {
            let provider = pause.provider.as_ref().map_or("", Provider::as_str);
            pause.source == PauseSource::Breaker && provider == partition.name
        })
    }
}

/// Returns what is said of a process; nothing but its definition for one without limits.
///
/// # Errors
/// [`Error::Database`].
pub async fn of(conn: &mut AsyncPgConnection, process: &Process) -> Result<ProcessControl, Error> {
    let mut found = read(conn, Some(process)).await?;
    // The statement returns a row for the process that it is asked for.
    found
        .pop()
        .ok_or(Error::Database(diesel::result::Error::NotFound))
}

/// Returns what is said of each process that is known ([`crate::process::known`]) or controlled, by name.
/// Reads the slots and what is claimed, not the fleet.
///
/// # Errors
/// [`Error::Database`].
pub async fn all(conn: &mut AsyncPgConnection) -> Result<Vec<ProcessControl>, Error> {
    read(conn, None).await
}

statement! {
    Processes<'a> = include_str!("../sql/controlled_processes.sql");
    (process: Option<&'a Process> => Nullable<Text>)
    -> (Text, Text, Bool, Nullable<Text>, Nullable<Text>, BigInt)
}

type ProcessRow = (Process, Lane, bool, Option<String>, Option<String>, i64);

async fn read(
    conn: &mut AsyncPgConnection,
    process: Option<&Process>,
) -> Result<Vec<ProcessControl>, Error> {
    let rows: Vec<ProcessRow> = Processes { process }.load(conn).await?;
    let mut limits = limits(conn, process).await?;
    let mut breakers = breakers(conn, process).await?;
    let mut pauses = pauses_of(conn, process).await?;
    let control = |(process, lane, is_defined, workflow, off_workflow, claimed)| ProcessControl {
        limits: limits
            .extract_if(.., |limit| limit.process == process)
            .collect(),
        breakers: breakers
            .extract_if(.., |breaker| breaker.process == process)
            .collect(),
        pauses: pauses
            .extract_if(.., |pause| pause.process == process)
            .collect(),
        process,
        lane,
        is_defined,
        workflow,
        off_workflow,
        claimed,
    };
    Ok(rows.into_iter().map(control).collect())
}

statement! {
    Limits<'a> = concat!(include_str!("../sql/providers.sql"), include_str!("../sql/limits.sql"));
    (process: Option<&'a Process> => Nullable<Text>)
    -> (
        Text, Text, Nullable<Integer>, Nullable<Integer>, Nullable<Integer>,
        Nullable<Text>, Nullable<Text>, Nullable<Integer>, Nullable<Integer>, Nullable<Timestamptz>
    )
}

type LimitRow = (
    Process,
    Per,
    Option<i32>,
    Option<i32>,
    Option<i32>,
    Option<String>,
    Option<SlotKind>,
    Option<i32>,
    Option<i32>,
    Option<DateTime<Utc>>,
);

async fn limits(
    conn: &mut AsyncPgConnection,
    process: Option<&Process>,
) -> Result<Vec<LimitState>, Error> {
    let rows: Vec<LimitRow> = Limits { process }.load(conn).await?;
    let mut limits: Vec<LimitState> = Vec::new();
    for row in rows {
        let (
            process,
            per,
            max_running,
            max_starts,
            window,
            partition,
            kind,
            taken,
            maximum,
            opens_at,
        ) = row;
        let is_same = |limit: &LimitState| limit.process == process && limit.limit.per == per;
        if !limits.last().is_some_and(is_same) {
            let starts = max_starts.zip(window).map(|(count, window)| Starts {
                count: count.into(),
                window_seconds: window.into(),
            });
            limits.push(LimitState {
                process,
                limit: Limit {
                    per,
                    max_running: max_running.map(i64::from),
                    max_starts: starts,
                },
                partitions: Vec::new(),
            });
        }
        let (Some(limit), Some(name), Some(kind), Some(taken), Some(maximum)) =
            (limits.last_mut(), partition, kind, taken, maximum)
        else {
            continue;
        };
        if limit.partitions.last().is_none_or(|last| last.name != name) {
            limit.partitions.push(PartitionUse {
                name,
                running: None,
                starts: None,
            });
        }
        let used = SlotUse {
            taken: taken.into(),
            maximum: maximum.into(),
            opens_at,
        };
        if let Some(partition) = limit.partitions.last_mut() {
            match kind {
                SlotKind::Running => partition.running = Some(used),
                SlotKind::Start => partition.starts = Some(used),
            }
        }
    }
    Ok(limits)
}

statement! {
    Breakers<'a> = concat!(include_str!("../sql/providers.sql"), include_str!("../sql/breakers.sql"));
    (process: Option<&'a Process> => Nullable<Text>)
    -> (
        Text, Text, Nullable<Integer>, Nullable<BigInt>, Nullable<Integer>, Nullable<Integer>,
        Nullable<Integer>, Nullable<Text>, Nullable<BigInt>, Nullable<BigInt>, Nullable<BigInt>,
        Nullable<Timestamptz>, Bool, BigInt
    )
}

type BreakerRow = (
    Process,
    Per,
    Option<i32>,
    Option<i64>,
    Option<i32>,
    Option<i32>,
    Option<i32>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<DateTime<Utc>>,
    bool,
    i64,
);

async fn breakers(
    conn: &mut AsyncPgConnection,
    process: Option<&Process>,
) -> Result<Vec<BreakerState>, Error> {
    let rows: Vec<BreakerRow> = Breakers { process }.load(conn).await?;
    let mut breakers: Vec<BreakerState> = Vec::new();
    for row in rows {
        let (process, per, max_due, share, max_failures, window, resume_after, partition, ..) =
            &row;
        let is_same = |state: &BreakerState| state.process == *process && state.breaker.per == *per;
        if !breakers.last().is_some_and(is_same) {
            let failures = max_failures.zip(*window).map(|(count, window)| Failures {
                count: count.into(),
                window_seconds: window.into(),
            });
            breakers.push(BreakerState {
                process: process.clone(),
                breaker: Breaker {
                    per: *per,
                    max_due: max_due.map(i64::from),
                    // A share out of range is refused by the table.
                    max_due_percent: share.and_then(|share| Percent::from_thousandths(share).ok()),
                    max_failures: failures,
                    resume_after_seconds: resume_after.map(i64::from),
                },
                partitions: Vec::new(),
            });
        }
        let Some((state, name)) = breakers.last_mut().zip(partition.clone()) else {
            continue;
        };
        let (.., due, population, threshold, evaluated_at, disarmed, failures) = row;
        state.partitions.push(PartitionNeed {
            name,
            due,
            population,
            threshold,
            evaluated_at,
            disarmed,
            failures,
        });
    }
    Ok(breakers)
}

statement! {
    Pauses<'a> = "SELECT p.process, nullif(p.provider, ''), p.since, \
                         CASE WHEN isfinite(p.until) THEN p.until END, p.source, p.paused_by, p.reason, \
                         p.stop_running \
                  FROM process_pause p \
                  WHERE p.until > clock_timestamp() AND p.process = coalesce($1, p.process) \
                  ORDER BY p.process, p.provider";
    (process: Option<&'a Process> => Nullable<Text>)
    -> (Text, Nullable<Text>, Timestamptz, Nullable<Timestamptz>, Text, Text, Text, Bool)
}

async fn pauses_of(
    conn: &mut AsyncPgConnection,
    process: Option<&Process>,
) -> Result<Vec<Pause>, Error> {
    Ok(Pauses { process }.load(conn).await?)
}

/// Returns all pauses in force, by process; that of a whole process before those of its providers. Costs a
/// look at a small table.
///
/// # Errors
/// [`Error::Database`].
pub async fn pauses(conn: &mut AsyncPgConnection) -> Result<Vec<Pause>, Error> {
    pauses_of(conn, None).await
}
