//! What a turn of the janitor would do.

use crate::output::{Cell, Page, Report, Table, Text, Time, Tone, interval, relative};
use bmdb_core::{DryRun, ExpiredWork, NextBatch};
use bmdb_model::maintenance::Task;
use bmdb_model::session::SessionRow;
use bmdb_model::{MachineId, Process, SessionId};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Answer {
    at: Time,
    /// The sessions that have expired, the one that expired first first.
    sessions: Vec<Session>,
    /// The work that they hold.
    works: Vec<Held>,
    upkeep: Vec<Upkeep>,
    /// How many rows of history are not to be kept; null where it is not trimmed.
    surplus_history: Option<u64>,
}

#[derive(Serialize)]
struct Session {
    session_id: Text<SessionId>,
    component: String,
    runtime_info: String,
    expired_at: Time,
    holds: usize,
}

#[derive(Serialize)]
struct Held {
    machine_id: Text<MachineId>,
    process: Text<Process>,
    session_id: Text<SessionId>,
    fence: i64,
    /// How often in a row it was lost before.
    losses: i64,
    /// How long the machine would rest.
    delay_seconds: u32,
}

#[derive(Serialize)]
struct Upkeep {
    task: &'static str,
    is_due: bool,
    due_at: Time,
    /// How many machines or rows the next chunk has.
    size: u64,
    after_machine: Option<Text<MachineId>>,
    chunks: i64,
    last_chunks: Option<i64>,
    /// Why the last chunk failed.
    failure: Option<String>,
}

impl From<DryRun> for Answer {
    fn from(preview: DryRun) -> Self {
        let works = preview.expired;
        let session = |row: SessionRow| Session {
            holds: works
                .iter()
                .filter(|work| work.item.session == row.id)
                .count(),
            session_id: Text(row.id),
            component: row.component_name,
            runtime_info: row.runtime_info,
            expired_at: Time(row.deadline),
        };
        Self {
            at: Time(preview.at),
            sessions: preview.sessions.into_iter().map(session).collect(),
            works: works.iter().cloned().map(Held::from).collect(),
            upkeep: preview.batches.into_iter().map(Upkeep::from).collect(),
            surplus_history: preview.surplus,
        }
    }
}

impl From<ExpiredWork> for Held {
    fn from(work: ExpiredWork) -> Self {
        let item = work.item;
        Self {
            machine_id: Text(item.machine),
            process: Text(item.process),
            session_id: Text(item.session),
            fence: item.fence.get(),
            losses: item.losses,
            delay_seconds: work.delay.get(),
        }
    }
}

impl From<NextBatch> for Upkeep {
    fn from(chunk: NextBatch) -> Self {
        let row = chunk.row;
        Self {
            task: match row.task {
                Task::Plan => "plan",
                Task::TrimHistory => "trim_history",
                Task::TrimTally => "trim_tally",
            },
            is_due: chunk.is_due,
            due_at: Time(row.due_at),
            size: chunk.size,
            after_machine: row.progress.after_machine.map(Text),
            chunks: row.progress.chunks,
            last_chunks: row.progress.last_chunks,
            failure: row.failure,
        }
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(format_args!("dead sessions: {}", self.sessions.len()));
        if !self.sessions.is_empty() {
            let header = ["SESSION", "EXPIRED", "HOLDS", "COMPONENT", "RUNS AS"];
            let mut table = Table::new(header).yielding([("RUNS AS", 10)]);
            for session in &self.sessions {
                table.row([
                    Cell::new(session.session_id),
                    Cell::new(relative(session.expired_at, self.at)),
                    Cell::number(session.holds),
                    Cell::new(&session.component),
                    Cell::new(&session.runtime_info),
                ]);
            }
            page.table(table);
        }
        page.line(format_args!("works to be freed: {}", self.works.len()));
        if !self.works.is_empty() {
            let mut table = Table::new(["MACHINE", "PROCESS", "WOULD REST", "LOSSES"]);
            for work in &self.works {
                table.row([
                    Cell::machine(work.machine_id),
                    Cell::new(&work.process),
                    Cell::new(interval(work.delay_seconds.into())),
                    Cell::number(work.losses),
                ]);
            }
            page.table(table);
        }
        self.show_upkeep(page);
    }
}

impl Answer {
    fn show_upkeep(&self, page: &mut Page) {
        let mut table = Table::new(["UPKEEP", "DUE", "SIZE", "CHUNKS", "LAST PASS"]);
        for chunk in &self.upkeep {
            table.row([
                Cell::new(chunk.task),
                match chunk.is_due {
                    true => Cell::new("now"),
                    false => Cell::new(relative(chunk.due_at, self.at)),
                },
                Cell::number(chunk.size),
                Cell::number(chunk.chunks),
                Cell::optional(chunk.last_chunks),
            ]);
        }
        page.table(table);
        for chunk in &self.upkeep {
            if let Some(failure) = &chunk.failure {
                let text = format!("{}: the last chunk failed: {failure}", chunk.task);
                let text = page.paint(Tone::Bad, text);
                page.line(text);
            }
        }
        if let Some(surplus) = self.surplus_history {
            page.line(format_args!(
                "rows of history that are not to be kept: {surplus}"
            ));
        }
    }
}
