//! What a turn of the janitor did.

use crate::output::{Cell, Page, Report, Table, Text, Tone, answer, interval};
use bmdb_core::{JanitorReport, MaintenanceBatch};
use bmdb_model::reclaim::LostAttempt;
use bmdb_model::{MachineId, Process, SessionId};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Answer {
    /// The expired sessions that were removed.
    sessions: Vec<Text<SessionId>>,
    /// The work that was reclaimed.
    work: Vec<Reclaimed>,
    #[serde(rename = "upkeep")]
    batches: Vec<Batch>,
}

answer! {
    struct Reclaimed from attempt: LostAttempt {
        machine_id: Text<MachineId> = Text(attempt.machine),
        process: Text<Process> = Text(attempt.process),
        session_id: Text<SessionId> = Text(attempt.session),
        fence: i64 = attempt.fence.get(),
        /// How long the machine backs off.
        delay_seconds: Option<i64> = attempt.delay_seconds,
    }
}

#[derive(Serialize)]
#[serde(tag = "task", rename_all = "snake_case")]
enum Batch {
    Plan {
        machines: usize,
        broken: Vec<Broken>,
    },
    TrimHistory {
        rows: u64,
    },
    #[serde(rename = "trim_tally")]
    TrimAttemptCounts {
        rows: u64,
    },
}

#[derive(Serialize)]
struct Broken {
    process: Text<Process>,
    problem: String,
}

impl From<JanitorReport> for Answer {
    fn from(turn: JanitorReport) -> Self {
        Self {
            sessions: turn.reclaimed.sessions.into_iter().map(Text).collect(),
            work: turn
                .reclaimed
                .attempts
                .into_iter()
                .map(Reclaimed::from)
                .collect(),
            batches: turn.batches.into_iter().filter_map(batch).collect(),
        }
    }
}

fn batch(batch: MaintenanceBatch) -> Option<Batch> {
    match batch {
        MaintenanceBatch::Planned { machines, broken } => {
            let broken = broken.into_iter().map(|broken| Broken {
                problem: broken.problem(),
                process: Text(broken.process),
            });
            Some(Batch::Plan {
                machines,
                broken: broken.collect(),
            })
        }
        MaintenanceBatch::Trimmed { rows } => Some(Batch::TrimHistory { rows }),
        MaintenanceBatch::AttemptCountsTrimmed { rows } => Some(Batch::TrimAttemptCounts { rows }),
        _ => None,
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(format_args!(
            "expired sessions removed: {}",
            self.sessions.len()
        ));
        page.line(format_args!("work reclaimed: {}", self.work.len()));
        for batch in &self.batches {
            match batch {
                Batch::Plan { machines, broken } => {
                    page.line(format_args!("machines replanned: {machines}"));
                    for Broken { process, problem } in broken {
                        let text = format!("cannot plan {process}: {problem}");
                        page.painted_line(Tone::Bad, text);
                    }
                }
                Batch::TrimHistory { rows } => {
                    page.line(format_args!("history rows deleted: {rows}"));
                }
                Batch::TrimAttemptCounts { rows } => {
                    page.line(format_args!("attempt counts merged or deleted: {rows}"));
                }
            }
        }
        if !self.work.is_empty() {
            page.blank();
            let mut table = Table::new(["MACHINE", "PROCESS", "BACKS OFF"]);
            for work in &self.work {
                table.row([
                    Cell::machine(work.machine_id),
                    Cell::new(&work.process),
                    Cell::optional(work.delay_seconds.map(interval)),
                ]);
            }
            page.table(table);
        }
    }
}
