//! `bmdb machine show`: one machine with its tags, gates and claimed work.

use super::on_hold::OnHold;
use super::tags::Tag;
use crate::context::Context;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::output::{Cell, Page, Report, Table, Text, Time, Tone, WHOLE, relative};
use crate::paging::show_items;
use crate::watch::Watch;
use crate::work::list::Claimed;
use bmdb_model::fleet::ItemState;
use bmdb_model::gates::{self, Gates, When};
use bmdb_model::{Error, MachineId, Process, connection, custom_tags, hold, machine, work};
use serde::Serialize;
use std::collections::BTreeMap;

/// Show a machine: its tags, the gates of each process, and its claimed work.
///
/// `bmdb why` explains what shuts the gates of one process and what will open them. `bmdb history` shows
/// what happened on the machine.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb machine show 67e5
  bmdb machine show fra1/rack-a-07 --watch
  bmdb machine show 67e5 --json | jq .tags.machine_provided")]
pub(crate) struct Show {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Serialize)]
struct Answer {
    at: Time,
    machine_id: Text<MachineId>,
    created_at: Time,
    /// How often its tags were written.
    version: i64,
    hold: Option<OnHold>,
    /// By table, including the tables of other programs.
    tags: BTreeMap<String, Tag>,
    processes: Vec<ProcessGates>,
    work: Vec<Claimed>,
}

#[derive(Serialize)]
struct ProcessGates {
    process: Text<Process>,
    state: &'static str,
    eligible: bool,
    ready: bool,
    /// When the second gate opens or opened. `None`: it is open without a time, or never opens; `ready`
    /// tells which.
    ready_at: Option<Time>,
    /// The process of the lane that has claimed the machine.
    claimed_by: Option<Text<Process>>,
    /// Why the last attempt failed, while its backoff is on record.
    cause: Option<String>,
    failures: i64,
    losses: i64,
    /// Whether the work item differs from what the tags call for: `bmdb replan`.
    is_stale: bool,
}

impl Show {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let id = self.machine.resolve(context).await?;
        let reader = context.reader().await?;
        let read = async || {
            let read = reader.read(async |conn| {
                let machine = machine::find(conn, id).await?;
                let machine = machine.ok_or(Error::NoSuchMachine(id))?;
                let at = connection::clock(conn).await?;
                let hold = hold::of(conn, id).await?;
                let gates = gates::of(conn, id).await?;
                let claimed = work::claimed_on(conn, id).await?;
                let tables = custom_tags::tables(conn).await?;
                let tags = custom_tags::tags(conn, id, &tables).await?;
                Ok((at, machine, hold, gates, claimed, tables, tags))
            });
            let (at, machine, hold, gates, claimed, tables, tags) = read.await?;
            let tags = tables.into_iter().zip(tags);
            Ok(Answer {
                at: Time(at),
                machine_id: Text(machine.id),
                created_at: Time(machine.created_at),
                version: machine.version,
                hold: hold.map(OnHold::from),
                tags: tags
                    .filter_map(|(table, tag)| Tag::of(table, tag))
                    .collect(),
                processes: gates.into_iter().map(ProcessGates::from).collect(),
                work: claimed.into_iter().map(Claimed::from).collect(),
            })
        };
        self.watch.show(context, read).await
    }
}

impl From<Gates> for ProcessGates {
    fn from(gates: Gates) -> Self {
        let (state, backoff) = (gates.state(), gates.ready.backoff.as_ref());
        Self {
            state: state.as_str(),
            eligible: gates.eligible.is_open,
            ready: gates.ready.is_open,
            ready_at: match gates.ready.opens {
                When::At(time) => Some(Time(time)),
                When::Now | When::Never => None,
            },
            claimed_by: gates.claim.map(|holder| Text(holder.process)),
            cause: backoff.and_then(|backoff| backoff.cause.clone()),
            failures: backoff.map_or(0, |backoff| backoff.failures),
            losses: backoff.map_or(0, |backoff| backoff.losses),
            is_stale: gates.is_stale,
            process: Text(gates.process),
        }
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.fields([
            ("machine", self.machine_id.to_string()),
            ("created", self.created_at.beside(self.at)),
        ]);
        if let Some(hold) = &self.hold {
            let since = hold.since.beside(self.at);
            let text = format!("ON HOLD since {since}: {}", hold.reason);
            page.painted_line(Tone::Warn, text);
        }
        page.heading("Tags");
        if self.tags.is_empty() {
            page.note("No tags. `bmdb tag set` sets one.");
        }
        for (name, tag) in &self.tags {
            tag.show(name, self.at, page);
        }
        page.heading("Processes");
        self.show_processes(page);
        if !self.work.is_empty() {
            page.heading("Work");
            show_items(page, &self.work, self.at);
        }
    }
}

impl Answer {
    fn show_processes(&self, page: &mut Page) {
        let header = [
            "PROCESS",
            "STATE",
            "SINCE OR UNTIL",
            "FAILURES",
            "LOSSES",
            "CAUSE",
        ];
        let mut table =
            Table::new(header).flexible([("LOSSES", WHOLE), ("FAILURES", WHOLE), ("CAUSE", 12)]);
        for row in &self.processes {
            let when = row.ready_at.filter(|_| row.eligible || !row.ready);
            table.row([
                Cell::new(&row.process),
                Cell::new(row.state_text()).tone(tone(row.state)),
                Cell::optional(when.map(|time| relative(time, self.at))),
                Cell::number(row.failures),
                Cell::number(row.losses),
                Cell::optional(row.cause.as_ref()),
            ]);
        }
        page.table(table);
    }
}

impl ProcessGates {
    /// The state for people, with what else keeps the process from starting.
    fn state_text(&self) -> String {
        let mut text = self.state.replace('-', " ");
        if let Some(other) = &self.claimed_by
            && self.state == ItemState::Due.as_str()
        {
            text += &format!(" (lane claimed by {other})");
        }
        if self.is_stale {
            text += " (stale: `bmdb replan`)";
        }
        text
    }
}

fn tone(state: &str) -> Tone {
    match state {
        "claimed" => Tone::Good,
        "backing-off" => Tone::Warn,
        "not-eligible" => Tone::Dim,
        _ => Tone::Plain,
    }
}
