//! The machine's backoffs, in force and expired, with a chart of the intervals that led to them.

use crate::chart::{Interval, intervals};
use crate::component::badge::{Tone, badge};
use crate::component::{cause, empty, interval, number, table::table, time};
use bmdb_core::TxError;
use bmdb_model::connection::AsyncPgConnection;
use bmdb_model::gates::{Backoff, Gates};
use bmdb_model::history::{self, PastAttempt};
use bmdb_model::{MachineId, Process};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

/// How many processes get a chart; the table has all of them.
const CHARTS: usize = 8;

/// How many failures a chart shows. A streak of equal failures counts once.
const FAILURES: i64 = 50;

/// The failures for the charts: the latest of each process that has a backoff. They are read per process,
/// because other processes may have made any number of attempts since.
pub(super) async fn failures(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    all: &[Gates],
) -> Result<Vec<PastAttempt>, TxError> {
    let processes = with_backoff(all).map(|(process, _)| process);
    let processes: Vec<&Process> = processes.take(CHARTS).collect();
    if processes.is_empty() {
        return Ok(Vec::new());
    }
    Ok(history::last_failures(conn, machine, &processes, FAILURES).await?)
}

fn with_backoff(all: &[Gates]) -> impl Iterator<Item = (&Process, &Backoff)> {
    all.iter().filter_map(|gates| {
        let backoff = gates.ready.backoff.as_ref()?;
        Some((&gates.process, backoff))
    })
}

pub(super) fn show(now: DateTime<Utc>, all: &[Gates], failures: &[PastAttempt]) -> Markup {
    let heads = [
        "Process", "Backoff", "Until", "Interval", "In a row", "Cause",
    ];
    let sequences = all
        .iter()
        .map(|gates| (&gates.process, sequence(failures, &gates.process)));
    // The table shows a single interval as well as a chart would.
    let charts: Vec<_> = sequences
        .filter(|(_, intervals)| intervals.len() > 1)
        .collect();
    html! {
        @if with_backoff(all).next().is_none() {
            (empty::teach(
                "No process is backing off.",
                "After a failure, a process waits before it claims the machine again, longer after each \
                 failure in a row. Its backoff is listed here until the process succeeds or an operator \
                 clears it. To list all backoffs:",
                "bmdb backoff list",
            ))
        } @else {
            (table("Backoffs of the machine", &heads, with_backoff(all), |row| cells(row, now)))
        }
        @if !charts.is_empty() {
            div.panels.plots {
                @for (process, failed) in &charts {
                    div.panel {
                        (intervals(
                            &format!("intervals-{process}"),
                            &format!("{process}: backoff interval after each failure"),
                            failed,
                            now,
                        ))
                    }
                }
            }
        }
    }
}

fn cells((process, backoff): (&Process, &Backoff), now: DateTime<Utc>) -> Vec<Markup> {
    vec![
        html! { (process) },
        if backoff.is_in_force {
            badge(Tone::Waiting, "in force")
        } else {
            badge(Tone::Quiet, "expired")
        },
        time::relative(backoff.until, now),
        html! { @if let Some(seconds) = backoff.last_interval_seconds { (interval::show(seconds)) } },
        html! {
            (number::show(backoff.failures)) " failed"
            @if backoff.losses > 0 { ", " (number::show(backoff.losses)) " expired" }
        },
        cause::optional(backoff.cause.as_deref()),
    ]
}

/// The intervals after the failures of a process, the oldest first. A streak has two: its first and last.
fn sequence(failures: &[PastAttempt], process: &Process) -> Vec<Interval> {
    let failed = failures.iter().filter(|failed| failed.process == *process);
    failed.flat_map(of_streak).collect()
}

fn of_streak(attempt: &PastAttempt) -> Vec<Interval> {
    let Some(seconds) = attempt.interval_seconds else {
        return Vec::new();
    };
    let at = |at| Interval { at, seconds };
    match attempt.repeats {
        0 => vec![at(attempt.ended_at)],
        _ => vec![at(attempt.started_at), at(attempt.ended_at)],
    }
}
