//! `bmdb stats`: numbers of the fleet.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Text, Time, Tone, WHOLE, answer, interval};
use crate::watch::Watch;
use bmdb_model::counts::{FleetCounts, ProcessCounts};
use bmdb_model::{Process, connection};
use bmdb_web::Sample;
use serde::Serialize;

/// Show the numbers of the fleet: machines, sessions and the work of each process.
///
/// This counts whole tables. For a large fleet choose a longer interval for --watch.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb stats
  bmdb stats --watch=10s
  bmdb stats --json | jq '.processes[] | select(.process == \"ShepherdRecovery\").claimed'")]
pub(crate) struct Stats {
    #[command(flatten)]
    watch: Watch,
}

#[derive(Serialize)]
struct Answer {
    at: Time,
    fleet: Fleet,
    processes: Vec<Work>,
}

answer! {
    struct Fleet from counts: FleetCounts {
        machines: i64 = counts.machines,
        provided: i64 = counts.provided,
        agent_started: i64 = counts.agent_started,
        heartbeating: i64 = counts.heartbeating,
        installation_pending: i64 = counts.installation_pending,
        installed: i64 = counts.installed,
        on_hold: i64 = counts.on_hold,
        live_sessions: i64 = counts.live_sessions,
        dead_sessions: i64 = counts.dead_sessions,
    }
}

#[derive(Serialize)]
struct Work {
    process: Text<Process>,
    eligible: i64,
    due: Option<i64>,
    limited: Option<i64>,
    paused: Option<i64>,
    oldest_due_seconds: Option<i64>,
    claimed: i64,
    stuck: i64,
    backing_off: i64,
    failing: i64,
    resting: i64,
    poisoned: i64,
}

impl Stats {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let reader = context.reader().await?;
        let read = async || {
            let at = reader.read(async |conn| Ok(connection::clock(conn).await?));
            let at = at.await?;
            // Counts like the console and /metrics.
            let sample = Sample::take(reader).await?;
            let work = |counts| Work::of(&sample, counts);
            Ok(Answer {
                at: Time(at),
                fleet: sample.fleet.into(),
                processes: sample.processes.iter().map(work).collect(),
            })
        };
        self.watch.show(context, read).await
    }
}

impl Work {
    fn of(sample: &Sample, counts: &ProcessCounts) -> Self {
        let pending = sample.pending_for(&counts.process);
        Self {
            process: Text(counts.process.clone()),
            eligible: counts.eligible,
            due: sample.due(counts),
            limited: sample.limited(counts),
            paused: sample.paused(counts),
            oldest_due_seconds: pending.and_then(|pending| pending.oldest_due_seconds),
            claimed: counts.claimed,
            stuck: counts.stuck,
            backing_off: counts.backing_off,
            failing: counts.failing,
            resting: counts.resting,
            poisoned: counts.poisoned,
        }
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let fleet = &self.fleet;
        page.fields([
            ("machines", fleet.machines.to_string()),
            ("provided", fleet.provided.to_string()),
            ("agent started", fleet.agent_started.to_string()),
            ("heartbeating", fleet.heartbeating.to_string()),
            ("to be installed", fleet.installation_pending.to_string()),
            ("installed", fleet.installed.to_string()),
            ("on hold", fleet.on_hold.to_string()),
            ("live sessions", fleet.live_sessions.to_string()),
            ("expired sessions", fleet.dead_sessions.to_string()),
            ("as of", self.at.to_string()),
        ]);
        page.blank();
        if fleet.machines == 0 {
            page.note("No machines yet: `bmdb machine import` imports them.");
            return;
        }
        page.table(table(&self.processes));
    }
}

/// A column is shown always, or only while it has a number that is not zero.
struct Column {
    name: &'static str,
    is_always: bool,
    count: fn(&Work) -> Option<i64>,
    /// Whether somebody should look if it is not zero.
    is_alarming: bool,
}

const fn column(name: &'static str, count: fn(&Work) -> Option<i64>) -> Column {
    Column {
        name,
        is_always: true,
        count,
        is_alarming: false,
    }
}

const COLUMNS: [Column; 10] = [
    column("ELIGIBLE", |work| Some(work.eligible)),
    column("DUE", |work| work.due),
    Column {
        is_always: false,
        ..column("LIMITED", |work| work.limited)
    },
    Column {
        is_always: false,
        is_alarming: true,
        ..column("PAUSED", |work| work.paused)
    },
    column("CLAIMED", |work| Some(work.claimed)),
    Column {
        is_alarming: true,
        ..column("STUCK", |work| Some(work.stuck))
    },
    column("BACKING OFF", |work| Some(work.backing_off)),
    column("FAILING", |work| Some(work.failing)),
    Column {
        is_always: false,
        is_alarming: true,
        ..column("RESTING", |work| Some(work.resting))
    },
    Column {
        is_alarming: true,
        ..column("POISONED", |work| Some(work.poisoned))
    },
];

fn table(processes: &[Work]) -> Table {
    let is_shown = |column: &&Column| {
        let counts = || processes.iter().filter_map(column.count);
        column.is_always || counts().any(|count| count != 0)
    };
    let columns: Vec<&Column> = COLUMNS.iter().filter(is_shown).collect();
    let mut header = vec!["PROCESS"];
    for column in &columns {
        header.push(column.name);
        if column.name == "DUE" {
            header.push("OLDEST");
        }
    }
    let mut table = Table::new(header).flexible([
        ("ELIGIBLE", WHOLE),
        ("BACKING OFF", WHOLE),
        ("CLAIMED", WHOLE),
        ("RESTING", WHOLE),
        ("PROCESS", 26),
    ]);
    for work in processes {
        let mut row = vec![Cell::new(&work.process)];
        for column in &columns {
            // `None`: the workflow's view fails.
            row.push(match (column.count)(work) {
                None => Cell::unknown(),
                Some(count) if count > 0 && column.is_alarming => {
                    Cell::number(count).tone(Tone::Bad)
                }
                Some(count) => Cell::number(count),
            });
            if column.name == "DUE" {
                let oldest = work.oldest_due_seconds.map_or(String::new(), interval);
                row.push(Cell::number(oldest));
            }
        }
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> Work {
        Work {
            process: Text(Process::SHEPHERD_AGENT_START),
            eligible: 69,
            due: Some(61),
            limited: Some(0),
            paused: Some(0),
            oldest_due_seconds: Some(350),
            claimed: 8,
            stuck: 0,
            backing_off: 0,
            failing: 0,
            resting: 0,
            poisoned: 0,
        }
    }

    #[test]
    fn what_may_not_start_or_rests_has_a_column_only_where_there_is_any() {
        let text = |processes: Vec<Work>| {
            let mut page = Page::new(None, false);
            page.table(table(&processes));
            page.into_text()
        };
        let plain = text(vec![work()]);
        let closed = Work {
            limited: Some(3),
            paused: Some(7),
            resting: 2,
            failing: 5,
            ..work()
        };
        let closed = text(vec![work(), closed]);
        for rare in ["LIMITED", "PAUSED", "RESTING"] {
            assert!(!plain.contains(rare) && closed.contains(rare), "{closed}");
        }
        assert!(plain.contains("FAILING"), "{plain}");
    }

    #[test]
    fn on_a_terminal_of_60_columns_the_names_of_processes_are_complete() {
        let mut fleet = FleetCounts::default();
        fleet.machines = 1;
        let answer = Answer {
            at: Time("2026-11-22T05:34:25Z".parse().unwrap()),
            fleet: fleet.into(),
            processes: vec![work()],
        };
        let mut page = Page::new(Some(60), false);
        answer.show(&mut page);
        let text = page.into_text();
        let row = "ShepherdAgentStart   61   5m50s      0        0         0";
        assert!(text.contains(row), "{text}");
        assert!(
            text.contains("Columns hidden (terminal too narrow): ELIGIBLE, CLAIMED, BACKING OFF."),
            "{text}"
        );
    }
}
