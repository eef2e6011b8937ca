//! `bmdb machine list`: machines that match filters, page by page.

use super::on_hold::OnHold;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Table, Text, Time, Tone, answer, relative};
use crate::paging::{Item, List, Listing};
use crate::validate;
use bmdb_core::TxError;
use bmdb_model::custom_tags::{self, TagTable};
use bmdb_model::fleet::{self, Filter, FleetItem, FleetMachine, ItemState, Prefix};
use bmdb_model::{MachineId, Process, Provider, ProviderStatus, SessionId};
use serde::Serialize;

/// List machines and the states of their processes.
///
/// A machine is listed if it matches all filters. In a large fleet, a page may be short although more
/// machines match: `next` in JSON, or the note below the table, says how to continue.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb machine list --provider fra1 --process ShepherdAgentStart --state backing-off
  bmdb machine list --process ShepherdRecovery --state paused
  bmdb machine list --tag machine_hold
  bmdb machine list --prefix fra1/rack-a --watch
  bmdb machine list --all --json | jq -r '.items[].machine_id'")]
pub(crate) struct ListMachines {
    /// Machines of this provider.
    #[arg(long, value_name = "NAME")]
    provider: Option<Provider>,
    /// Machines that have this tag: the name of its table, such as machine_hold.
    #[arg(long, value_name = "TABLE")]
    tag: Option<String>,
    /// Machines on which this process is in the state of --state.
    #[arg(long, value_name = "NAME", requires = "state")]
    process: Option<Process>,
    /// due, limited, paused, waiting, backing-off, claimed or not-eligible.
    #[arg(long, value_name = "STATE", requires = "process")]
    state: Option<ItemState>,
    /// Machines whose id or provider id begins with this text; also Provider/…
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Serialize)]
struct Machine {
    machine_id: Text<MachineId>,
    provider: Option<Text<Provider>>,
    provider_id: Option<String>,
    ip_address: Option<String>,
    location: Option<String>,
    status: Option<Text<ProviderStatus>>,
    hold: Option<OnHold>,
    processes: Vec<WorkItem>,
}

answer! {
    struct WorkItem from item: FleetItem {
        process: Text<Process> = Text(item.process),
        state: &'static str = item.state.as_str(),
        /// Until when it waits or backs off, or since when it is due.
        ready_at: Option<Time> = item.ready_at.map(Time),
        /// The session that has claimed it.
        session_id: Option<Text<SessionId>> = item.session.map(Text),
        /// When it was claimed.
        started_at: Option<Time> = item.started_at.map(Time),
        failures: i64 = item.failures,
        losses: i64 = item.losses,
    }
}

impl ListMachines {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let prefix = self.prefix.as_deref().map(Prefix::new).transpose()?;
        let reader = context.reader().await?;
        validate::process(reader, self.process.as_ref()).await?;
        validate::providers(reader, &self.provider).await?;
        let tables = match self.tag {
            Some(_) => {
                let tables = reader.read(async |conn| Ok(custom_tags::tables(conn).await?));
                tables.await?
            }
            None => Vec::new(),
        };
        let tag = self.tag.as_deref().map(|name| named(name, &tables));
        let filter = Filter {
            provider: self.provider,
            tag: tag.transpose()?,
            state: self.process.zip(self.state),
            prefix,
        };
        let page = async |after: Option<_>, limit| {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let read = reader.read(async |conn| {
                let page = fleet::page(conn, &filter, after.as_ref(), limit).await;
                let page = page.map_err(|error| match error {
                    fleet::PageError::Database(error) => error.into(),
                    other => TxError::abort(Failure::usage(other.to_string())),
                })?;
                let machines = fleet::details(conn, &page.machines).await?;
                Ok((machines, page.next))
            });
            let (machines, next) = read.await?;
            Ok(List::new(machines, next))
        };
        self.listing.show::<Machine, _>(context, page).await
    }
}

fn named<'t>(name: &str, tables: &'t [TagTable]) -> Result<&'t TagTable, Failure> {
    let found = tables.iter().find(|table| table.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        Failure::new(Exit::NotFound, format!("there is no tag {name}"))
            .hint(format!("the tags are {}", names.join(", ")))
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
            hold: machine.hold.map(OnHold::from),
            processes: machine.items.into_iter().map(WorkItem::from).collect(),
        }
    }
}

impl WorkItem {
    /// Sorts claimed work first, then backoffs, then work that is due, first what may not start.
    fn rank(&self) -> usize {
        let order = [
            ItemState::Claimed,
            ItemState::BackingOff,
            ItemState::Paused,
            ItemState::Limited,
            ItemState::Due,
        ];
        let place = order.iter().position(|state| state.as_str() == self.state);
        place.unwrap_or(order.len())
    }
}

impl Item for Machine {
    const EMPTY: &'static str = "No machine matches.";

    fn table() -> Table {
        let header = [
            "MACHINE",
            "PROVIDER",
            "PROVIDER ID",
            "LOCATION",
            "PROCESSES",
        ];
        Table::new(header).flexible([
            ("LOCATION", 8),
            ("PROVIDER ID", 11),
            ("PROVIDER", 8),
            ("PROCESSES", 24),
        ])
    }

    fn cells(&self, now: Time) -> Vec<Cell> {
        vec![
            Cell::machine(self.machine_id),
            Cell::optional(self.provider.as_ref()),
            Cell::optional(self.provider_id.as_ref()),
            Cell::optional(self.location.as_ref()),
            self.state(now),
        ]
    }
}

impl Machine {
    /// The hold, or else the states of the processes.
    fn state(&self, now: Time) -> Cell {
        if let Some(hold) = &self.hold {
            return Cell::new(format!("on hold: {}", hold.reason)).tone(Tone::Warn);
        }
        let eligible = |item: &&WorkItem| item.state != ItemState::NotEligible.as_str();
        let mut items: Vec<_> = self.processes.iter().filter(eligible).collect();
        items.sort_by_key(|item| item.rank());
        // The state comes first, because the end of the text is cut on a narrow terminal.
        let items = items.into_iter().map(|item| {
            let (state, process) = (item.state.replace('-', " "), &item.process);
            match item.started_at.or(item.ready_at) {
                Some(time) => format!("{state} {process} {}", relative(time, now)),
                None => format!("{state} {process}"),
            }
        });
        let text = items.collect::<Vec<_>>().join(", ");
        let is_failing = self.processes.iter().any(|item| item.failures > 0);
        Cell::new(text).tone(match is_failing {
            true => Tone::Warn,
            false => Tone::Plain,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Page, Report};
    use crate::paging::ListAt;

    const NOW: &str = "2026-11-22T05:34:25Z";

    fn item(process: Process, state: ItemState) -> WorkItem {
        WorkItem {
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
        let answer = ListAt {
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
    fn on_a_terminal_of_80_columns_the_state_is_shown_and_the_id_can_be_used() {
        let text = page(80);
        let row = text.lines().nth(1).unwrap();
        assert!(row.starts_with("67e55044  Equinix"), "{text}");
        assert!(row.contains("backing off ShepherdAgentStart"), "{text}");
        assert!(row.contains("8d2b") && row.contains("frank"), "{text}");
    }

    #[test]
    fn on_a_terminal_of_60_columns_the_state_is_still_shown() {
        let text = page(60);
        assert!(text.contains("backing off Shepherd"), "{text}");
        assert!(
            text.contains("Columns hidden (terminal too narrow): LOCATION."),
            "{text}"
        );
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(60), "{text}");
    }
}
