//! What a turn of the janitor has done.

use crate::output::{Cell, Page, Report, Table, Text, Tone, interval};
use bmdb_core::{JanitorReport, MaintenanceBatch};
use bmdb_model::reclaim::LostAttempt;
use bmdb_model::{MachineId, Process, SessionId};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Answer {
    /// The sessions that had expired and are gone.
    sessions: Vec<Text<SessionId>>,
    /// The work that was freed.
    works: Vec<Freed>,
    upkeep: Vec<Upkeep>,
}

#[derive(Serialize)]
struct Freed {
    machine_id: Text<MachineId>,
    process: Text<Process>,
    session_id: Text<SessionId>,
    fence: i64,
    /// How long the machine rests.
    delay_seconds: Option<i64>,
}

#[derive(Serialize)]
#[serde(tag = "task", rename_all = "snake_case")]
enum Upkeep {
    Plan {
        machines: usize,
        broken: Vec<Broken>,
    },
    TrimHistory {
        rows: u64,
    },
    TrimTally {
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
            works: turn
                .reclaimed
                .attempts
                .into_iter()
                .map(Freed::from)
                .collect(),
            upkeep: turn.batches.into_iter().filter_map(upkeep).collect(),
        }
    }
}

impl From<LostAttempt> for Freed {
    fn from(attempt: LostAttempt) -> Self {
        Self {
            machine_id: Text(attempt.machine),
            process: Text(attempt.process),
            session_id: Text(attempt.session),
            fence: attempt.fence.get(),
            delay_seconds: attempt.delay_seconds,
        }
    }
}

fn upkeep(chunk: MaintenanceBatch) -> Option<Upkeep> {
    match chunk {
        MaintenanceBatch::Planned { machines, broken } => {
            let broken = broken.into_iter().map(|(process, problem)| Broken {
                process: Text(process),
                problem,
            });
            Some(Upkeep::Plan {
                machines,
                broken: broken.collect(),
            })
        }
        MaintenanceBatch::Trimmed { rows } => Some(Upkeep::TrimHistory { rows }),
        MaintenanceBatch::AttemptCountsTrimmed { rows } => Some(Upkeep::TrimTally { rows }),
        _ => None,
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(format_args!(
            "dead sessions removed: {}",
            self.sessions.len()
        ));
        page.line(format_args!("works freed: {}", self.works.len()));
        for chunk in &self.upkeep {
            match chunk {
                Upkeep::Plan { machines, broken } => {
                    page.line(format_args!("machines planned anew: {machines}"));
                    for Broken { process, problem } in broken {
                        let text = format!("{process} cannot be planned by: {problem}");
                        let text = page.paint(Tone::Bad, text);
                        page.line(text);
                    }
                }
                Upkeep::TrimHistory { rows } => {
                    page.line(format_args!("rows of history deleted: {rows}"));
                }
                Upkeep::TrimTally { rows } => {
                    page.line(format_args!(
                        "rows of the tally added up or deleted: {rows}"
                    ));
                }
            }
        }
        if !self.works.is_empty() {
            page.blank();
            let mut table = Table::new(["MACHINE", "PROCESS", "RESTS"]);
            for freed in &self.works {
                let rests = freed.delay_seconds.map(interval);
                table.row([
                    Cell::machine(freed.machine_id),
                    Cell::new(&freed.process),
                    Cell::optional(rests),
                ]);
            }
            page.table(table);
        }
    }
}
