//! `bmdb process show`: one process, with the use of its limits.

use super::answer::Listed;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Time, Tone};
use crate::validate;
use crate::watch::Watch;
use bmdb_model::{Process, connection, plan, process_control};
use serde::Serialize;

/// Show a process, how much of its limits is used, and what pauses it.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb process show ShepherdRecovery
  bmdb process show ShepherdRecovery --json | jq '.limits[].partitions'

Exit codes: 3 there is no such process")]
pub(crate) struct Show {
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Serialize)]
struct Answer {
    at: Time,
    #[serde(flatten)]
    process: Listed,
}

impl Show {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let reader = context.reader().await?;
        let process = &self.process;
        let read = async || {
            let read = reader.read(async |conn| {
                let at = connection::clock(conn).await?;
                let control = process_control::of(conn, process).await?;
                Ok((at, control, plan::failures(conn).await?))
            });
            let (at, control, failures) = read.await?;
            if !control.is_defined && !control.is_controlled() {
                validate::process(reader, Some(process)).await?;
            }
            Ok(Answer {
                at: Time(at),
                process: Listed::of(control, &failures),
            })
        };
        self.watch.show(context, read).await
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let process = &self.process;
        let workflow = match (&process.workflow, process.state) {
            (None, _) => "none".to_owned(),
            (Some(workflow), "on") => workflow.clone(),
            (Some(workflow), state) => format!("{workflow} ({state})"),
        };
        page.fields([
            ("process", process.process.to_string()),
            ("lane", process.lane.to_string()),
            ("workflow", workflow),
            ("claimed", process.claimed.to_string()),
        ]);
        if let Some(problem) = &process.not_plannable {
            page.painted_line(Tone::Bad, format_args!("not plannable: {problem}"));
        }
        for pause in &process.pauses {
            let since = pause.since.beside(self.at);
            let line = format!("paused since {since}: {}", pause.sentence());
            page.painted_line(Tone::Warn, line);
        }
        if !process.pauses.is_empty() {
            let name = &process.process;
            page.note(format_args!("`bmdb process resume {name}` resumes it."));
        }
        for limit in &process.limits {
            let values = &limit.limit;
            page.heading(format_args!("Limit per {}: {}", values.per, values.text));
            let mut table = Table::new(["WHOSE", "RUNNING", "STARTS", "NEXT START"]);
            for used in &limit.partitions {
                let slots = [&used.running, &used.starts];
                let opens_at = slots
                    .into_iter()
                    .flatten()
                    .filter_map(|slots| slots.opens_at);
                table.row([
                    Cell::new(whose(&used.partition)),
                    count(
                        used.running
                            .as_ref()
                            .map(|slots| (slots.taken, slots.maximum)),
                    ),
                    count(
                        used.starts
                            .as_ref()
                            .map(|slots| (slots.taken, slots.maximum)),
                    ),
                    match opens_at.max() {
                        Some(time) => Cell::time(time, self.at),
                        None => Cell::new("-"),
                    },
                ]);
            }
            page.table(table);
        }
        for breaker in &process.breakers {
            let values = &breaker.breaker;
            page.heading(format_args!("Breaker per {}: {}", values.per, values.text));
            let columns = [
                "WHOSE",
                "NEED IT",
                "OF",
                "MORE THAN",
                "COUNTED",
                "FAILURES",
                "STATE",
            ];
            let mut table = Table::new(columns);
            for need in &breaker.partitions {
                let state = match need.disarmed {
                    true => Cell::new("disarmed").tone(Tone::Warn),
                    false => Cell::new("armed"),
                };
                table.row([
                    Cell::new(whose(&need.partition)),
                    Cell::optional(need.due),
                    Cell::optional(need.population),
                    Cell::optional(need.threshold),
                    match need.evaluated_at {
                        Some(time) => Cell::time(time, self.at),
                        None => Cell::new("-"),
                    },
                    Cell::number(need.failures),
                    state,
                ]);
            }
            page.table(table);
        }
        if process.limits.is_empty() && process.breakers.is_empty() {
            page.note("Nothing limits it: see `bmdb process limit --help`.");
        }
    }
}

fn whose(partition: &str) -> &str {
    match partition {
        "" => "all",
        provider => provider,
    }
}

fn count(slots: Option<(i64, i64)>) -> Cell {
    match slots {
        None => Cell::new("-"),
        Some((taken, maximum)) if taken >= maximum => {
            Cell::new(format!("{taken}/{maximum}")).tone(Tone::Warn)
        }
        Some((taken, maximum)) => Cell::new(format!("{taken}/{maximum}")),
    }
}
