//! `bmdb process list`: all processes, and what limits or stops them.

use super::answer::{Listed, Slots, Used};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Time, Tone, interval};
use crate::watch::Watch;
use bmdb_model::{connection, plan, process_control};
use serde::Serialize;

/// List processes, with what limits or stops them.
///
/// Of a limit per provider, RUNNING and STARTS show the provider that has used the most of it.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb process list
  bmdb process list --watch
  bmdb process list --json | jq -r '.processes[] | select(.pauses != []).process'")]
pub(crate) struct ListProcesses {
    #[command(flatten)]
    watch: Watch,
}

#[derive(Serialize)]
struct Answer {
    at: Time,
    processes: Vec<Listed>,
}

impl ListProcesses {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let reader = context.reader().await?;
        let read = async || {
            let read = reader.read(async |conn| {
                let at = connection::clock(conn).await?;
                let controls = process_control::all(conn).await?;
                Ok((at, controls, plan::failures(conn).await?))
            });
            let (at, controls, failures) = read.await?;
            let listed = |control| Listed::of(control, &failures);
            Ok(Answer {
                at: Time(at),
                processes: controls.into_iter().map(listed).collect(),
            })
        };
        self.watch.show(context, read).await
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let columns = [
            "PROCESS", "LANE", "WORKFLOW", "RUNNING", "STARTS", "BREAKER", "PAUSED",
        ];
        let mut table = Table::new(columns).flexible([
            ("LANE", 8),
            ("WORKFLOW", 8),
            ("STARTS", 12),
            ("PAUSED", 10),
        ]);
        for process in &self.processes {
            table.row([
                Cell::new(&process.process),
                Cell::new(&process.lane),
                Cell::new(process.state).tone(match process.state {
                    "not plannable" => Tone::Bad,
                    "off" => Tone::Dim,
                    _ => Tone::Plain,
                }),
                running(process),
                starts(process),
                breaker(process),
                paused(process),
            ]);
        }
        page.table(table);
    }
}

fn running(process: &Listed) -> Cell {
    match fullest(process, |used| used.running.as_ref()) {
        Some((used, slots, _)) => cell(used, slots, ""),
        None => Cell::new(process.claimed),
    }
}

fn starts(process: &Listed) -> Cell {
    match fullest(process, |used| used.starts.as_ref()) {
        Some((used, slots, window)) => {
            let window = window.map(|seconds| format!(" in {}", interval(seconds)));
            cell(used, slots, &window.unwrap_or_default())
        }
        None => Cell::new("-"),
    }
}

fn cell(used: &Used, slots: &Slots, window: &str) -> Cell {
    let of = match used.partition.as_str() {
        "" => String::new(),
        provider => format!(" ({provider})"),
    };
    let cell = Cell::new(format!("{}/{}{window}{of}", slots.taken, slots.maximum));
    match slots.taken >= slots.maximum {
        true => cell.tone(Tone::Warn),
        false => cell,
    }
}

/// The partition that has used the largest part of its slots; the first of several.
fn fullest<'p>(
    process: &'p Listed,
    slots: impl Fn(&'p Used) -> Option<&'p Slots>,
) -> Option<(&'p Used, &'p Slots, Option<i64>)> {
    let all = process.limits.iter().flat_map(|limit| {
        let window = limit.limit.window_seconds;
        limit.partitions.iter().map(move |used| (used, window))
    });
    let counted = all.filter_map(|(used, window)| Some((used, slots(used)?, window)));
    counted.reduce(|fullest, other| {
        // As fractions, without dividing.
        let is_fuller = other.1.taken * fullest.1.maximum > fullest.1.taken * other.1.maximum;
        if is_fuller { other } else { fullest }
    })
}

fn breaker(process: &Listed) -> Cell {
    let is_tripped = process
        .pauses
        .iter()
        .any(|pause| pause.source.to_string() == "Breaker");
    let partitions = process
        .breakers
        .iter()
        .flat_map(|breaker| &breaker.partitions);
    let is_disarmed = partitions.into_iter().any(|need| need.disarmed);
    match (is_tripped, is_disarmed) {
        (true, _) => Cell::new("open").tone(Tone::Bad),
        (false, true) => Cell::new("disarmed").tone(Tone::Warn),
        (false, false) if process.breakers.is_empty() => Cell::new("-"),
        (false, false) => Cell::new("armed"),
    }
}

fn paused(process: &Listed) -> Cell {
    let whose = process.pauses.iter().map(|pause| match &pause.provider {
        None => "all".to_owned(),
        Some(provider) => provider.to_string(),
    });
    let whose: Vec<String> = whose.collect();
    match whose.is_empty() {
        true => Cell::new("-"),
        false => Cell::new(whose.join(", ")).tone(Tone::Warn),
    }
}
