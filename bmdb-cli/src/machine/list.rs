//! `bmdb machine list`: the machines that fit filters, page by page.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Text, Time, Tone, relative};
use crate::paging::{List, Paging};
use crate::watch::Watch;
use bmdb_core::TxError;
use bmdb_model::fleet::{self, Cursor, Filter, FleetItem, FleetMachine, ItemState, Prefix};
use bmdb_model::reflect::{self, TagTable};
use bmdb_model::{MachineId, Process, Provider, ProviderStatus, SessionId, connection};
use serde::Serialize;

/// List machines, and what their processes are about to do.
///
/// All filters that are given hold for each machine listed. In a large fleet a page of a filter that few
/// machines fit may be short; `next` in JSON, or the note below the table, says how to go on.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb machine list --provider Equinix --process ShepherdAgentStart --state backing-off
  bmdb machine list --tag machine_hold
  bmdb machine list --prefix Equinix/8d2b --watch
  bmdb machine list --all --json | jq -r '.items[].machine_id'")]
pub(crate) struct ListMachines {
    /// Machines of this provider.
    #[arg(long, value_name = "NAME")]
    provider: Option<Provider>,
    /// Machines that have this tag: the name of its table, such as machine_hold.
    #[arg(long, value_name = "TABLE")]
    tag: Option<String>,
    /// Machines on which this process is in the state that --state names.
    #[arg(long, value_name = "NAME", requires = "state")]
    process: Option<Process>,
    /// due, waiting, backing-off, held or not-eligible.
    #[arg(long, value_name = "STATE", requires = "process")]
    state: Option<ItemState>,
    /// Machines whose id, or the provider's id for them, begins so; also Provider/…
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    #[command(flatten)]
    pub(crate) watch: Watch,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Serialize)]
struct Answer {
    at: Time,
    #[serde(flatten)]
    list: List<Machine>,
}

#[derive(Serialize)]
struct Machine {
    machine_id: Text<MachineId>,
    provider: Option<Text<Provider>>,
    provider_id: Option<String>,
    ip_address: Option<String>,
    location: Option<String>,
    status: Option<Text<ProviderStatus>>,
    hold: Option<super::Hold>,
    processes: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    process: Text<Process>,
    state: &'static str,
    /// Until when it waits or backs off, or since when it is due.
    ready_at: Option<Time>,
    /// Who holds it, and since when.
    session_id: Option<Text<SessionId>>,
    started_at: Option<Time>,
    failures: i64,
    losses: i64,
}

impl ListMachines {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let prefix = self.prefix.as_deref().map(Prefix::new).transpose()?;
        self.watch
            .show(context, async || {
                let answer = self.read(context, prefix.clone()).await?;
                if answer.list.next.is_some() && !self.watch.is_on() {
                    context.output.note_next(&answer.list);
                }
                Ok(answer)
            })
            .await
    }

    async fn read(&self, context: &Context, prefix: Option<Prefix>) -> Result<Answer, Failure> {
        let reader = context.reader().await?;
        let started = reader.read(async |conn| {
            let tables = match self.tag {
                Some(_) => reflect::tables(conn).await?,
                None => Vec::new(),
            };
            Ok((connection::clock(conn).await?, tables))
        });
        let (at, tables) = started.await?;
        let filter = Filter {
            provider: self.provider.clone(),
            tag: self
                .tag
                .as_deref()
                .map(|name| named(name, &tables))
                .transpose()?,
            state: self.process.clone().zip(self.state),
            prefix,
        };
        let list = self.paging.list(async |after, limit| {
            let after = after.map(|text| text.parse::<Cursor>()).transpose();
            let after = after.map_err(|error| Failure::usage(format!("--after {error}")))?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let page = reader.read(async |conn| {
                let page = fleet::page(conn, &filter, after.as_ref(), limit).await;
                let page = page.map_err(|error| match error {
                    fleet::PageError::Database(error) => error.into(),
                    other => TxError::abort(Failure::usage(other.to_string())),
                })?;
                let machines = fleet::details(conn, &page.machines).await?;
                Ok((machines, page.next))
            });
            let (machines, next) = page.await?;
            Ok(List {
                items: machines.into_iter().map(Machine::from).collect(),
                next: next.map(|next| next.to_string()),
            })
        });
        Ok(Answer {
            at: Time(at),
            list: list.await?,
        })
    }
}

fn named<'t>(name: &str, tables: &'t [TagTable]) -> Result<&'t TagTable, Failure> {
    let found = tables.iter().find(|table| table.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        Failure::new(Exit::NotFound, format!("there is no tag {name}"))
            .hint(format!("there are {}", names.join(", ")))
    })
}

impl From<FleetMachine> for Machine {
    fn from(machine: FleetMachine) -> Self {
        let (provider, provider_id, ip_address, location, status) = match machine.provided {
            None => Default::default(),
            Some(tag) => (
                Some(Text(tag.provider)),
                Some(tag.provider_id),
                tag.ip_address,
                tag.location,
                tag.status.map(Text),
            ),
        };
        Self {
            machine_id: Text(machine.id),
            provider,
            provider_id,
            ip_address,
            location,
            status,
            hold: machine.hold.map(super::Hold::from),
            processes: machine.items.into_iter().map(Item::from).collect(),
        }
    }
}

impl From<FleetItem> for Item {
    fn from(item: FleetItem) -> Self {
        Self {
            process: Text(item.process),
            state: item.state.as_str(),
            ready_at: item.ready_at.map(Time),
            session_id: item.session.map(Text),
            started_at: item.started_at.map(Time),
            failures: item.failures,
            losses: item.losses,
        }
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        if self.list.items.is_empty() {
            page.note("No machine fits.");
            return;
        }
        let header = [
            "MACHINE",
            "PROVIDER",
            "PROVIDER ID",
            "LOCATION",
            "PROCESSES",
        ];
        let mut table = Table::new(header).shrinking(["LOCATION", "PROCESSES"]);
        for machine in &self.list.items {
            table.row([
                Cell::new(machine.machine_id),
                Cell::optional(machine.provider.as_ref()),
                Cell::optional(machine.provider_id.as_ref()),
                Cell::optional(machine.location.as_ref()),
                self.processes(machine),
            ]);
        }
        page.table(table);
    }
}

impl Answer {
    /// What people look for in a list: a hold first, then what is or will be done.
    fn processes(&self, machine: &Machine) -> Cell {
        if let Some(hold) = &machine.hold {
            return Cell::new(format!("on hold: {}", hold.reason)).tone(Tone::Warn);
        }
        let eligible = |item: &&Item| item.state != ItemState::NotEligible.as_str();
        let items = machine.processes.iter().filter(eligible).map(|item| {
            let time = item.started_at.or(item.ready_at);
            let when = time.map_or(String::new(), |time| {
                format!(" {}", relative(time, self.at))
            });
            format!("{} {}{when}", item.process, item.state)
        });
        let text = items.collect::<Vec<_>>().join(", ");
        let is_failing = machine.processes.iter().any(|item| item.failures > 0);
        Cell::new(text).tone(match is_failing {
            true => Tone::Warn,
            false => Tone::Plain,
        })
    }
}
