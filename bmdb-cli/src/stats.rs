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
    oldest_due_seconds: Option<i64>,
    claimed: i64,
    stuck: i64,
    backing_off: i64,
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
            oldest_due_seconds: pending.and_then(|pending| pending.oldest_due_seconds),
            claimed: counts.claimed,
            stuck: counts.stuck,
            backing_off: counts.backing_off,
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
        let header = [
            "PROCESS",
            "ELIGIBLE",
            "DUE",
            "OLDEST",
            "CLAIMED",
            "STUCK",
            "BACKING OFF",
            "POISONED",
        ];
        let mut table = Table::new(header).flexible([
            ("ELIGIBLE", WHOLE),
            ("BACKING OFF", WHOLE),
            ("CLAIMED", WHOLE),
            ("PROCESS", 26),
        ]);
        let alarming =
            |count: i64| Cell::number(count).tone(if count > 0 { Tone::Bad } else { Tone::Plain });
        for work in &self.processes {
            table.row([
                Cell::new(&work.process),
                Cell::number(work.eligible),
                // `None`: the workflow's view fails.
                work.due.map_or(Cell::unknown(), Cell::number),
                Cell::number(work.oldest_due_seconds.map_or(String::new(), interval)),
                Cell::number(work.claimed),
                alarming(work.stuck),
                Cell::number(work.backing_off),
                alarming(work.poisoned),
            ]);
        }
        page.table(table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_terminal_of_60_columns_the_names_of_processes_are_complete() {
        let work = Work {
            process: Text(Process::SHEPHERD_AGENT_START),
            eligible: 69,
            due: Some(61),
            oldest_due_seconds: Some(350),
            claimed: 8,
            stuck: 0,
            backing_off: 0,
            poisoned: 0,
        };
        let mut fleet = FleetCounts::default();
        fleet.machines = 1;
        let answer = Answer {
            at: Time("2026-11-22T05:34:25Z".parse().unwrap()),
            fleet: fleet.into(),
            processes: vec![work],
        };
        let mut page = Page::new(Some(60), false);
        answer.show(&mut page);
        let text = page.into_text();
        let row = "ShepherdAgentStart   61   5m50s        8      0         0";
        assert!(text.contains(row), "{text}");
        assert!(
            text.contains("Columns hidden (terminal too narrow): ELIGIBLE, BACKING OFF."),
            "{text}"
        );
    }
}
