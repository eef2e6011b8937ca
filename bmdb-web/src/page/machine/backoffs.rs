//! A machine's backoffs, in force and passed, with the intervals that led to them.

use crate::chart::{Interval, intervals};
use crate::component::badge::{Tone, badge};
use crate::component::table::Table;
use crate::component::{empty, interval, time};
use bmdb_core::TxError;
use bmdb_model::connection::AsyncPgConnection;
use bmdb_model::gates::{Backoff, Gates};
use bmdb_model::history::{self, PastAttempt};
use bmdb_model::{MachineId, Process};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

/// For how many processes there is a plot; the table has all of them.
const PLOTS: usize = 8;

/// From how many failures a plot is made; a streak is one.
const FAILURES: i64 = 50;

/// The failures that the plots are made from, of processes with a backoff on record: each one's own last
/// ones, for there may be any number of other processes' attempts since.
pub(super) async fn failures(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    all: &[Gates],
) -> Result<Vec<PastAttempt>, TxError> {
    let with_backoff = all.iter().filter(|gates| gates.ready.backoff.is_some());
    let processes: Vec<&Process> = with_backoff
        .take(PLOTS)
        .map(|gates| &gates.process)
        .collect();
    if processes.is_empty() {
        return Ok(Vec::new());
    }
    Ok(history::last_failures(conn, machine, &processes, FAILURES).await?)
}

pub(super) fn show(now: DateTime<Utc>, all: &[Gates], failures: &[PastAttempt]) -> Markup {
    let heads = [
        "Process", "Backoff", "Until", "Interval", "In a row", "Cause",
    ];
    let mut table = Table::new("Backoffs of the machine", &heads);
    let mut plots: Vec<(&Process, Vec<Interval>)> = Vec::new();
    for gates in all {
        if let Some(backoff) = &gates.ready.backoff {
            table.row(row(&gates.process, backoff, now));
        }
        let failed = sequence(failures, &gates.process);
        // One interval is told by the table.
        if failed.len() > 1 {
            plots.push((&gates.process, failed));
        }
    }
    html! {
        @if table.is_empty() {
            (empty::teach(
                "Nothing is backing off.",
                "When a process fails on the machine it leaves it alone for a while, and for longer each \
                 time. That is listed here until the process succeeds, and can be ended by hand.",
                "bmdb backoff list",
            ))
        } @else { (table.render()) }
        @if !plots.is_empty() {
            div.panels.plots {
                @for (process, failed) in &plots {
                    div.panel {
                        (intervals(
                            &format!("intervals-{process}"),
                            &format!("{process}: how long it waited after each failure"),
                            failed,
                            now,
                        ))
                    }
                }
            }
        }
    }
}

fn row(process: &Process, backoff: &Backoff, now: DateTime<Utc>) -> Vec<Markup> {
    vec![
        html! { (process) },
        if backoff.is_in_force {
            badge(Tone::Waiting, "in force")
        } else {
            badge(Tone::Quiet, "passed")
        },
        time::relative(backoff.until, now),
        html! { @if let Some(seconds) = backoff.last_interval_seconds { (interval::show(seconds)) } },
        html! {
            span.number { (backoff.failures) } " failed"
            @if backoff.losses > 0 { ", " span.number { (backoff.losses) } " lost" }
        },
        html! { @if let Some(cause) = &backoff.cause { span.cause { (cause) } } },
    ]
}

/// The intervals that failures imposed, the oldest first; of a streak its first and its last.
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
