//! `bmdb why`: why a process starts on a machine, or does not.

use crate::context::Context;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::output::{Line, Page, Report, Text, Time, Tone, answer};
use crate::validate;
use bmdb_core::operator::explain;
use bmdb_model::gates::{self, Effect, Gates, TagState};
use bmdb_model::{MachineId, Process};
use serde::Serialize;

/// Explain why a process starts on a machine, or does not.
///
/// There are four gates: eligible (the tags call for the process), ready (no deadline and no backoff is
/// ahead), free (no session has claimed the machine) and allowed (the process is not paused, and its limits
/// leave room). For each gate this shows whether it is open, since
/// when, what shuts it, and what will open it.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb why 67e5 ShepherdRecovery
  bmdb why fra1/rack-a-07 ShepherdAgentStart --json | jq .is_open

Exit codes: 0 whether the gates are open or closed, 3 there is no such machine or process")]
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
    /// Whether a claim can take the machine now.
    is_open: bool,
    verdict: String,
    /// Whether the work item differs from what the tags call for: `bmdb replan`.
    is_stale: bool,
    workflow: Option<String>,
    gates: FourGates,
    tags: Vec<Tag>,
    advice: Vec<String>,
}

#[derive(Serialize)]
struct FourGates {
    eligible: Gate,
    ready: Gate,
    free: Gate,
    allowed: Gate,
}

answer! {
    struct Gate from gate: explain::Gate {
        is_open: bool = gate.is_open,
        since: Option<Time> = gate.since.map(Time),
        opens_at: Option<Time> = gate.opens_at.map(Time),
        sentences: Vec<String> = gate.sentences,
    }
}

answer! {
    struct Tag from tag: TagState {
        table: String = tag.table,
        is_set: bool = tag.is_set,
        time: Option<Time> = tag.time.map(|(_, time)| Time(time)),
        /// `keeps_out`, `is_missing`, or neither.
        effect: Option<&'static str> = match tag.effect {
            Effect::KeepsOut => Some("keeps_out"),
            Effect::IsMissing => Some("is_missing"),
            Effect::NoneAlone => None,
        },
    }
}

impl Why {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let reader = context.reader().await?;
        let process = &self.process;
        validate::process(reader, Some(process)).await?;
        let read = reader.read(async |conn| Ok(gates::one(conn, machine, process).await?));
        context.output.report(&Answer::from(read.await?))
    }
}

impl From<Gates> for Answer {
    fn from(gates: Gates) -> Self {
        let explained = explain::explain(&gates);
        Self {
            at: Time(gates.at),
            is_open: gates.are_open(),
            machine_id: Text(gates.machine),
            process: Text(gates.process),
            verdict: explained.verdict,
            is_stale: gates.is_stale,
            workflow: gates.workflow.map(|workflow| workflow.view),
            gates: FourGates {
                eligible: explained.eligible.into(),
                ready: explained.ready.into(),
                free: explained.free.into(),
                allowed: explained.allowed.into(),
            },
            tags: gates.eligible.tags.into_iter().map(Tag::from).collect(),
            advice: explained.advice,
        }
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.painted_line(Tone::Strong, &self.verdict);
        page.blank();
        for (name, gate) in [
            ("eligible", &self.gates.eligible),
            ("ready", &self.gates.ready),
            ("free", &self.gates.free),
            ("allowed", &self.gates.allowed),
        ] {
            let name = Line::new().plain(format_args!("{name:<8}  "));
            page.styled_line(&match gate.is_open {
                true => name.toned(Tone::Good, "open"),
                false => name.toned(Tone::Bad, "closed"),
            });
            for sentence in &gate.sentences {
                page.line(format_args!("          {sentence}"));
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
