//! `bmdb machine list`: the machines that fit filters, page by page.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Text, Time, Tone, relative};
use crate::paging::{List, Paging, key};
use crate::validate;
use crate::watch::Watch;
use bmdb_core::TxError;
use bmdb_model::custom_tags::{self, TagTable};
use bmdb_model::fleet::{self, Cursor, Filter, FleetItem, FleetMachine, ItemState, Prefix};
use bmdb_model::{MachineId, Process, Provider, ProviderStatus, SessionId, connection};
use serde::Serialize;

/// List machines, and what their processes are about to do.
///
/// All filters that are given hold for each machine listed. In a large fleet a page of a filter that few
/// machines fit may be short; `next` in JSON, or the note
/// below the table, says how to go on.
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
        let reader = context.reader().await?;
        validate::process(reader, self.process.as_ref()).await?;
        validate::providers(reader, &self.provider).await?;
        let read = async || self.read(context, prefix.clone()).await;
        self.watch.show(context, read).await
    }

    async fn read(&self, context: &Context, prefix: Option<Prefix>) -> Result<Answer, Failure> {
        let reader = context.reader().await?;
        let started = reader.read(async |conn| {
            let tables = match self.tag {
                Some(_) => custom_tags::tables(conn).await?,
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
            let after = key::<Cursor>(after.as_deref())?;
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

impl Item {
    /// What is being done comes before what rests, and that before what is to come.
    fn rank(&self) -> usize {
        let order = [ItemState::Claimed, ItemState::BackingOff, ItemState::Due];
        let place = order.iter().position(|state| state.as_str() == self.state);
        place.unwrap_or(order.len())
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
            page.note(match self.list.next {
                None => "No machine fits.",
                Some(_) => "No machine fits so far.",
            });
            return self.list.show_rest(page);
        }
        let header = [
            "MACHINE",
            "PROVIDER",
            "PROVIDER ID",
            "LOCATION",
            "PROCESSES",
        ];
        let mut table = Table::new(header).yielding([
            ("LOCATION", 8),
            ("PROVIDER ID", 11),
            ("PROVIDER", 8),
            ("PROCESSES", 24),
        ]);
        for machine in &self.list.items {
            table.row([
                Cell::machine(machine.machine_id),
                Cell::optional(machine.provider.as_ref()),
                Cell::optional(machine.provider_id.as_ref()),
                Cell::optional(machine.location.as_ref()),
                self.processes(machine),
            ]);
        }
        page.table(table);
        self.list.show_rest(page);
    }
}

impl Answer {
    /// What people look for in a list: a hold first, then what is or will be done.
    fn processes(&self, machine: &Machine) -> Cell {
        if let Some(hold) = &machine.hold {
            return Cell::new(format!("on hold: {}", hold.reason)).tone(Tone::Warn);
        }
        let eligible = |item: &&Item| item.state != ItemState::NotEligible.as_str();
        let mut items: Vec<&Item> = machine.processes.iter().filter(eligible).collect();
        items.sort_by_key(|item| item.rank());
        // The state first: it is what is left where the column is cut.
        let items = items.into_iter().map(|item| {
            let time = item.started_at.or(item.ready_at);
            let when = time.map_or(String::new(), |time| {
                format!(" {}", relative(time, self.at))
            });
            format!("{} {}{when}", item.state, item.process)
        });
        let text = items.collect::<Vec<_>>().join(", ");
        let is_failing = machine.processes.iter().any(|item| item.failures > 0);
        Cell::new(text).tone(match is_failing {
            true => Tone::Warn,
            false => Tone::Plain,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-22T05:34:25Z";

    fn item(process: Process, state: ItemState) -> Item {
        Item {
            process: Text(process),
            state: state.as_str(),
            ready_at: Some(Time(NOW.parse().unwrap())),
            session_id: None,
            started_at: None,
            failures: 0,
            losses: 0,
        }
    }

    fn page(width: u16) -> String {
        let machine = Machine {
            machine_id: Text("67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap()),
            provider: Some(Text(Provider::EQUINIX)),
            provider_id: Some("8d2b1f0c-6c1e-4d53-9d0e-5a7b0f1c2d3e".to_owned()),
            ip_address: None,
            location: Some("frankfurt-2/rack-17".to_owned()),
            status: None,
            hold: None,
            processes: vec![
                item(Process::SHEPHERD_ACCESS, ItemState::Waiting),
                item(Process::SHEPHERD_AGENT_START, ItemState::BackingOff),
            ],
        };
        let answer = Answer {
            at: Time(NOW.parse().unwrap()),
            list: List {
                items: vec![machine],
                next: None,
            },
        };
        let mut page = Page::new(Some(width), false);
        answer.show(&mut page);
        page.into_text()
    }

    #[test]
    fn on_a_terminal_of_80_columns_the_state_is_there_and_the_id_can_be_used() {
        let text = page(80);
        let row = text.lines().nth(1).unwrap();
        assert!(row.starts_with("67e55044  Equinix"), "{text}");
        assert!(row.contains("backing-off ShepherdAgentStart"), "{text}");
        assert!(row.contains("8d2b") && row.contains("frank"), "{text}");
    }

    #[test]
    fn on_a_terminal_of_60_columns_the_state_is_still_there() {
        let text = page(60);
        assert!(text.contains("backing-off Shepherd"), "{text}");
        assert!(
            text.contains("Left out, for want of width: LOCATION."),
            "{text}"
        );
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(60), "{text}");
    }
}
