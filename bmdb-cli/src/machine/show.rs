//! `bmdb machine show`: one machine, with its tags, gates and work.

use super::Hold;
use super::tags::Tag;
use crate::context::Context;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::output::{Cell, Page, Report, Table, Text, Time, Tone, WHOLE, relative};
use crate::watch::Watch;
use bmdb_model::fleet::ItemState;
use bmdb_model::gates::{self, Gates, When};
use bmdb_model::work::{self, ClaimedWork};
use bmdb_model::{Error, MachineId, Process, SessionId, custom_tags, machine};
use serde::Serialize;

/// Show a machine: its tags, the gates of each process, what is being done on it.
///
/// `bmdb why` tells of one process what shuts its gates and what will open them, `bmdb history` what was
/// done.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb machine show 67e5
  bmdb machine show Equinix/8d2b1f0c --watch
  bmdb machine show 67e5 --json | jq .tags.machine_provided")]
pub(crate) struct Show {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    #[command(flatten)]
    pub(crate) watch: Watch,
}

#[derive(Serialize)]
struct Answer {
    at: Time,
    machine_id: Text<MachineId>,
    created_at: Time,
    /// How many times its tags were written.
    version: i64,
    hold: Option<Hold>,
    /// By table: all there are, also those of other programs.
    tags: std::collections::BTreeMap<String, Tag>,
    processes: Vec<Row>,
    work: Vec<Held>,
}

#[derive(Serialize)]
struct Row {
    process: Text<Process>,
    state: &'static str,
    eligible: bool,
    ready: bool,
    /// When the second gate opens or opened; null: at once, or never, which `ready` tells apart.
    ready_at: Option<Time>,
    /// Which process of the lane holds the machine.
    held_by: Option<Text<Process>>,
    /// Why the last attempt failed, while its backoff is on record.
    cause: Option<String>,
    failures: i64,
    losses: i64,
    /// Whether the fleet must be planned anew: the tags say something else.
    is_stale: bool,
}

#[derive(Serialize)]
struct Held {
    process: Text<Process>,
    session_id: Text<SessionId>,
    component: String,
    is_live: bool,
    fence: i64,
    started_at: Time,
}

impl Show {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let id = self.machine.resolve(context).await?;
        let reader = context.reader().await?;
        let read = async || {
            let read = reader.read(async |conn| {
                let machine = machine::find(conn, id).await?;
                let machine = machine.ok_or(Error::NoSuchMachine(id))?;
                let at = bmdb_model::connection::clock(conn).await?;
                let hold = bmdb_model::hold::of(conn, id).await?;
                let gates = gates::of(conn, id).await?;
                let held = work::claimed_on(conn, id).await?;
                let tables = custom_tags::tables(conn).await?;
                let tags = custom_tags::tags(conn, id, &tables).await?;
                Ok((at, machine, hold, gates, held, tables, tags))
            });
            let (at, machine, hold, gates, held, tables, tags) = read.await?;
            let tags = tables.into_iter().zip(tags);
            Ok(Answer {
                at: Time(at),
                machine_id: Text(machine.id),
                created_at: Time(machine.created_at),
                version: machine.version,
                hold: hold.map(Hold::from),
                tags: tags
                    .filter_map(|(table, tag)| Tag::of(table, tag))
                    .collect(),
                processes: gates.into_iter().map(Row::from).collect(),
                work: held.into_iter().map(Held::from).collect(),
            })
        };
        self.watch.show(context, read).await
    }
}

impl From<Gates> for Row {
    fn from(gates: Gates) -> Self {
        let backoff = gates.ready.backoff.as_ref();
        let is_held = gates
            .claim
            .as_ref()
            .is_some_and(|holder| holder.process == gates.process);
        let state = if is_held {
            ItemState::Claimed.as_str()
        } else if backoff.is_some_and(|backoff| backoff.is_in_force) {
            ItemState::BackingOff.as_str()
        } else if !gates.eligible.is_open {
            ItemState::NotEligible.as_str()
        } else if !gates.ready.is_open {
            ItemState::Waiting.as_str()
        } else if gates.claim.is_some() {
            "lane-held"
        } else {
            ItemState::Due.as_str()
        };
        Self {
            state,
            eligible: gates.eligible.is_open,
            ready: gates.ready.is_open,
            ready_at: match gates.ready.opens {
                When::At(time) => Some(Time(time)),
                When::Now | When::Never => None,
            },
            held_by: gates.claim.map(|holder| Text(holder.process)),
            cause: backoff.and_then(|backoff| backoff.cause.clone()),
            failures: backoff.map_or(0, |backoff| backoff.failures),
            losses: backoff.map_or(0, |backoff| backoff.losses),
            is_stale: gates.is_stale,
            process: Text(gates.process),
        }
    }
}

impl From<ClaimedWork> for Held {
    fn from(held: ClaimedWork) -> Self {
        Self {
            process: Text(held.process),
            session_id: Text(held.session),
            component: held.component,
            is_live: held.is_live,
            fence: held.fence.get(),
            started_at: Time(held.started_at),
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
            let text = page.paint(Tone::Warn, text);
            page.line(text);
        }
        page.heading("Tags");
        if self.tags.is_empty() {
            page.note("None. `bmdb tag set` sets one.");
        }
        for (name, tag) in &self.tags {
            tag.show(name, self.at, page);
        }
        page.heading("Processes");
        self.show_processes(page);
        if !self.work.is_empty() {
            page.heading("Work");
            self.show_work(page);
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
            Table::new(header).yielding([("LOSSES", WHOLE), ("FAILURES", WHOLE), ("CAUSE", 12)]);
        for row in &self.processes {
            let state = match row.is_stale {
                true => format!("{} (stale: `bmdb replan`)", row.state),
                false => row.state.to_owned(),
            };
            let when = row.ready_at.filter(|_| row.eligible || !row.ready);
            table.row([
                Cell::new(&row.process),
                Cell::new(state).tone(tone(row.state)),
                Cell::optional(when.map(|time| relative(time, self.at))),
                Cell::number(row.failures),
                Cell::number(row.losses),
                Cell::optional(row.cause.as_ref()),
            ]);
        }
        page.table(table);
    }

    fn show_work(&self, page: &mut Page) {
        let mut table = Table::new(["PROCESS", "FENCE", "SINCE", "SESSION", "COMPONENT"])
            .yielding([("SESSION", 9), ("COMPONENT", 9)]);
        for held in &self.work {
            let component = match held.is_live {
                true => Cell::new(&held.component),
                false => Cell::new(format!("{} (dead)", held.component)).tone(Tone::Bad),
            };
            table.row([
                Cell::new(&held.process),
                Cell::number(held.fence),
                Cell::time(held.started_at, self.at),
                Cell::new(held.session_id),
                component,
            ]);
        }
        page.table(table);
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
