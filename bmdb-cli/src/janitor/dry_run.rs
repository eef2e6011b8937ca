//! Dry run: what a turn of the janitor would do.

use crate::output::{Cell, Page, Report, Table, Text, Time, Tone, answer, interval, relative};
use bmdb_core::{DryRun, ExpiredWork, NextBatch};
use bmdb_model::maintenance::Task;
use bmdb_model::session::SessionRow;
use bmdb_model::{MachineId, Process, SessionId};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Answer {
    at: Time,
    /// Expired sessions, the one that expired first at the top.
    sessions: Vec<Session>,
    /// The work that they have claimed.
    work: Vec<Claimed>,
    #[serde(rename = "upkeep")]
    tasks: Vec<MaintenanceTask>,
    /// How many rows of history would be trimmed; `None` if history is not trimmed.
    surplus_history: Option<u64>,
}

#[derive(Serialize)]
struct Session {
    session_id: Text<SessionId>,
    component: String,
    runtime_info: String,
    expired_at: Time,
    claimed: usize,
}

answer! {
    struct Claimed from work: ExpiredWork {
        machine_id: Text<MachineId> = Text(work.item.machine),
        process: Text<Process> = Text(work.item.process),
        session_id: Text<SessionId> = Text(work.item.session),
        fence: i64 = work.item.fence.get(),
        /// How often in a row it was lost before.
        losses: i64 = work.item.losses,
        /// How long the machine would back off.
        delay_seconds: u32 = work.delay.get(),
    }
}

answer! {
    struct MaintenanceTask from batch: NextBatch {
        task: &'static str = match batch.row.task {
            Task::Plan => "plan",
            Task::TrimHistory => "trim_history",
            Task::TrimAttemptCounts => "trim_tally",
        },
        is_due: bool = batch.is_due,
        due_at: Time = Time(batch.row.due_at),
        /// How many machines or rows the next batch has.
        size: u64 = batch.size,
        after_machine: Option<Text<MachineId>> = batch.row.progress.after_machine.map(Text),
        chunks: i64 = batch.row.progress.chunks,
        last_chunks: Option<i64> = batch.row.progress.last_chunks,
        /// Why the last batch failed.
        failure: Option<String> = batch.row.failure,
    }
}

impl From<DryRun> for Answer {
    fn from(dry_run: DryRun) -> Self {
        let claimed = dry_run.expired;
        let session = |row: SessionRow| Session {
            claimed: claimed
                .iter()
                .filter(|work| work.item.session == row.id)
                .count(),
            session_id: Text(row.id),
            component: row.component_name,
            runtime_info: row.runtime_info,
            expired_at: Time(row.deadline),
        };
        Self {
            at: Time(dry_run.at),
            sessions: dry_run.sessions.into_iter().map(session).collect(),
            work: claimed.iter().cloned().map(Claimed::from).collect(),
            tasks: dry_run
                .batches
                .into_iter()
                .map(MaintenanceTask::from)
                .collect(),
            surplus_history: dry_run.surplus,
        }
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(format_args!("expired sessions: {}", self.sessions.len()));
        if !self.sessions.is_empty() {
            let header = ["SESSION", "EXPIRED", "CLAIMED", "COMPONENT", "WHERE"];
            let mut table = Table::new(header).flexible([("WHERE", 10)]);
            for session in &self.sessions {
                table.row([
                    Cell::new(session.session_id),
                    Cell::new(relative(session.expired_at, self.at)),
                    Cell::number(session.claimed),
                    Cell::new(&session.component),
                    Cell::new(&session.runtime_info),
                ]);
            }
            page.table(table);
        }
        page.line(format_args!("work to reclaim: {}", self.work.len()));
        if !self.work.is_empty() {
            let mut table = Table::new(["MACHINE", "PROCESS", "BACKS OFF", "LOSSES"]);
            for work in &self.work {
                table.row([
                    Cell::machine(work.machine_id),
                    Cell::new(&work.process),
                    Cell::new(interval(work.delay_seconds.into())),
                    Cell::number(work.losses),
                ]);
            }
            page.table(table);
        }
        self.show_tasks(page);
    }
}

impl Answer {
    fn show_tasks(&self, page: &mut Page) {
        let mut table = Table::new(["MAINTENANCE", "DUE", "SIZE", "BATCHES", "LAST PASS"]);
        for task in &self.tasks {
            table.row([
                Cell::new(task.task),
                match task.is_due {
                    true => Cell::new("now"),
                    false => Cell::new(relative(task.due_at, self.at)),
                },
                Cell::number(task.size),
                Cell::number(task.chunks),
                Cell::optional(task.last_chunks),
            ]);
        }
        page.table(table);
        for task in &self.tasks {
            if let Some(failure) = &task.failure {
                let text = format!("{}: the last batch failed: {failure}", task.task);
                page.painted_line(Tone::Bad, text);
            }
        }
        if let Some(surplus) = self.surplus_history {
            page.line(format_args!("history rows to trim: {surplus}"));
        }
    }
}
