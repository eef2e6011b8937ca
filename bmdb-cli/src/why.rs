//! `bmdb why`: why nothing happens to a machine, or what does.

use crate::context::Context;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::output::{Page, Report, Text, Time, Tone, one_line};
use crate::validate;
use bmdb_core::operator::explain::{Explanation, Gate, explain};
use bmdb_model::gates::{self, Effect, Gates, TagState};
use bmdb_model::{MachineId, Process};
use serde::Serialize;

/// Say why a process is, or is not, begun on a machine.
///
/// There are three gates: the tags say that the machine needs the process; no deadline and no backoff is
/// ahead; nobody is at work. Each is told with since when it is shut, by what, and what opens it.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb why 67e5 ShepherdRecovery
  bmdb why Equinix/8d2b1f0c ShepherdAgentStart --json | jq .is_open

The exit code is 0 whatever the gates are; 3 if there is no such machine or no such process.")]
pub(crate) struct Why {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
}

#[derive(Serialize)]
struct Answer {
    at: Time,
    machine_id: Text<MachineId>,
    process: Text<Process>,
    /// Whether a claim that comes now takes the machine.
    is_open: bool,
    verdict: String,
    /// Whether the work item says something else than the tags: `bmdb replan`.
    is_stale: bool,
    workflow: Option<String>,
    gates: ThreeGates,
    tags: Vec<Tag>,
    advice: Vec<String>,
}

#[derive(Serialize)]
struct ThreeGates {
    eligible: Told,
    ready: Told,
    free: Told,
}

#[derive(Serialize)]
struct Told {
    is_open: bool,
    since: Option<Time>,
    opens_at: Option<Time>,
    sentences: Vec<String>,
}

#[derive(Serialize)]
struct Tag {
    table: String,
    is_set: bool,
    time: Option<Time>,
    /// `keeps_out`, `is_missing`, or neither.
    effect: Option<&'static str>,
}

impl From<Gate> for Told {
    fn from(gate: Gate) -> Self {
        Self {
            is_open: gate.is_open,
            since: gate.since.map(Time),
            opens_at: gate.opens_at.map(Time),
            sentences: gate.sentences,
        }
    }
}

impl From<TagState> for Tag {
    fn from(tag: TagState) -> Self {
        Self {
            table: tag.table,
            is_set: tag.is_set,
            time: tag.time.map(|(_, time)| Time(time)),
            effect: match tag.effect {
                Effect::KeepsOut => Some("keeps_out"),
                Effect::IsMissing => Some("is_missing"),
                Effect::NoneAlone => None,
            },
        }
    }
}

impl Why {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let reader = context.reader().await?;
        let process = &self.process;
        validate::process(reader, Some(process)).await?;
        let read = reader.read(async |conn| Ok(gates::one(conn, machine, process).await?));
        let gates = read.await?;
        let explained = explain(&gates);
        context.output.report(&answer(gates, explained))
    }
}

fn answer(gates: Gates, explained: Explanation) -> Answer {
    Answer {
        at: Time(gates.at),
        is_open: gates.are_open(),
        machine_id: Text(gates.machine),
        process: Text(gates.process),
        verdict: explained.verdict,
        is_stale: gates.is_stale,
        workflow: gates.workflow.map(|workflow| workflow.view),
        gates: ThreeGates {
            eligible: explained.eligible.into(),
            ready: explained.ready.into(),
            free: explained.free.into(),
        },
        tags: gates.eligible.tags.into_iter().map(Tag::from).collect(),
        advice: explained.advice,
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let verdict = page.paint(Tone::Strong, one_line(&self.verdict));
        page.line(verdict);
        page.blank();
        for (name, gate) in [
            ("eligible", &self.gates.eligible),
            ("ready", &self.gates.ready),
            ("free", &self.gates.free),
        ] {
            let state = match gate.is_open {
                true => page.paint(Tone::Good, "open"),
                false => page.paint(Tone::Bad, "shut"),
            };
            page.line(format_args!("{name:<8}  {state}"));
            for sentence in &gate.sentences {
                page.line(format_args!("          {}", one_line(sentence)));
            }
        }
        if !self.advice.is_empty() {
            page.blank();
        }
        for advice in &self.advice {
            page.line(advice);
        }
    }
}
