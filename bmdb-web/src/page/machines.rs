//! The fleet: machines that fit filters, a page at a time.

mod rows;
mod summary;

use super::{Page, Section};
use crate::app::{App, TagTables};
use crate::component::{empty, filter, pager, state, tag};
use crate::error::Problem;
use crate::link::with_query;
use crate::request::{Asked, Parameters};
use bmdb_core::TxError;
use bmdb_model::connection::AsyncPgConnection;
use bmdb_model::fleet::{self, Cursor, FleetMachine, FleetPage, ItemState, PageError, Prefix};
use bmdb_model::{MachineId, Process, Provider, custom_tags, process};
use maud::{Markup, html};

/// How many machines a page has.
const PAGE: usize = 50;

const PARAMETERS: [&str; 6] = ["provider", "tag", "process", "state", "prefix", "after"];

/// What the address asks for.
struct Wanted {
    provider: Option<Provider>,
    tag: Option<String>,
    state: Option<(Process, ItemState)>,
    prefix: Option<(String, Prefix)>,
    after: Option<Cursor>,
}

/// What is shown.
struct Facts {
    tables: TagTables,
    providers: Vec<Provider>,
    processes: Vec<Process>,
    page: FleetPage,
    machines: Vec<FleetMachine>,
    /// (machine, place of the tag's table).
    tags: Vec<(MachineId, usize)>,
}

pub(crate) async fn show(app: App, asked: Asked) -> Result<Page, Problem> {
    let wanted = Wanted::of(&asked.parameters(&PARAMETERS)?)?;
    let (moment, facts) = app
        .read(async |conn| facts(&app, conn, &wanted).await)
        .await?;
    let facts = facts?;
    let links = app.links();
    let all = links.machines();
    let narrowed = wanted.link(&all, "");
    let is_first = wanted.after.is_none();
    let body = html! {
        @if is_first && !wanted.is_narrow() { (summary::show(&app)) }
        (form(&app, &wanted, &facts))
        @if !facts.machines.is_empty() {
            (rows::table(links, moment.at, &facts.machines, &facts.tables, &facts.tags))
        } @else if wanted.is_narrow() && is_first && facts.page.next.is_none() {
            (empty::nothing_fits("machine", &all))
        } @else if is_first && facts.page.next.is_none() {
            (empty::teach(
                "No machines yet.",
                "This page lists the machines of the fleet: where they come from, their tags, and what \
                 each process is about to do with them. A fleet is imported from a file, or made known \
                 by a control loop.",
                "bmdb machine import fleet.json",
            ))
        } @else { p { "No machine fits on this page." } }
        (remarks(&facts.page))
        (pages(&wanted, &all, &narrowed, &facts.page))
    };
    Ok(Page::new("Machines", Section::Machines, body).of(moment))
}

async fn facts(
    app: &App,
    conn: &mut AsyncPgConnection,
    wanted: &Wanted,
) -> Result<Result<Facts, Problem>, TxError> {
    let tables = app.tag_tables(conn).await?;
    let tag = match &wanted.tag {
        None => None,
        Some(name) => {
            let Some(table) = tables.iter().find(|table| table.name == *name) else {
                return Ok(Err(unknown_tag(name, &tables)));
            };
            if !table.readable {
                let reason = "its table may not be read by the console's database user";
                return Ok(Err(Problem::bad_input("parameter \"tag\"", reason)));
            }
            Some(table)
        }
    };
    let filter = fleet::Filter {
        provider: wanted.provider.clone(),
        tag,
        state: wanted.state.clone(),
        prefix: wanted.prefix.as_ref().map(|(_, prefix)| prefix.clone()),
    };
    let page = match fleet::page(conn, &filter, wanted.after.as_ref(), PAGE).await {
        Ok(page) => page,
        Err(PageError::Database(error)) => return Err(error.into()),
        Err(other) => {
            return Ok(Err(Problem::bad_input(
                "parameter \"after\"",
                other.to_string(),
            )));
        }
    };
    let machines = fleet::details(conn, &page.machines).await?;
    let tags = custom_tags::present(conn, &page.machines, &tables).await?;
    let defined = process::all(conn).await?;
    Ok(Ok(Facts {
        providers: fleet::providers(conn).await?,
        processes: defined
            .into_iter()
            .map(|definition| definition.process)
            .collect(),
        tables,
        page,
        machines,
        tags,
    }))
}

fn unknown_tag(name: &str, tables: &TagTables) -> Problem {
    let known: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let reason = format!("{name:?} is no tag; there are {}", known.join(", "));
    Problem::bad_input("parameter \"tag\"", reason)
}

impl Wanted {
    fn of(parameters: &Parameters<'_>) -> Result<Self, Problem> {
        let process: Option<Process> = parameters.get("process")?;
        let state: Option<ItemState> = parameters.get("state")?;
        let state = match (process, state) {
            (Some(process), Some(state)) => Some((process, state)),
            (None, None) => None,
            (Some(_), None) => {
                let reason = "goes with a state: choose one beside it, such as state=due";
                return Err(Problem::bad_input("parameter \"process\"", reason));
            }
            (None, Some(_)) => {
                let reason = "is that of a process: choose the process beside it";
                return Err(Problem::bad_input("parameter \"state\"", reason));
            }
        };
        let prefix = parameters.text("prefix").map(|text| {
            let prefix = Prefix::new(text);
            prefix.map(|prefix| (text.to_owned(), prefix))
        });
        let prefix = prefix
            .transpose()
            .map_err(|error| Problem::bad_input("parameter \"prefix\"", error.to_string()))?;
        Ok(Self {
            provider: parameters.get("provider")?,
            tag: parameters.text("tag").map(str::to_owned),
            state,
            prefix,
            after: parameters.get("after")?,
        })
    }

    fn is_narrow(&self) -> bool {
        self.provider.is_some()
            || self.tag.is_some()
            || self.state.is_some()
            || self.prefix.is_some()
    }

    fn provider(&self) -> &str {
        self.provider.as_ref().map_or("", Provider::as_str)
    }

    fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or_default()
    }

    fn process(&self) -> &str {
        let process = self.state.as_ref().map(|(process, _)| process);
        process.map_or("", Process::as_str)
    }

    fn state(&self) -> &str {
        let state = self.state.as_ref().map(|(_, state)| *state);
        state.map_or("", ItemState::as_str)
    }

    fn prefix(&self) -> &str {
        self.prefix.as_ref().map_or("", |(text, _)| text)
    }

    /// The address of this list at another place.
    fn link(&self, path: &str, after: &str) -> String {
        let parameters = [
            ("provider", self.provider()),
            ("tag", self.tag()),
            ("process", self.process()),
            ("state", self.state()),
            ("prefix", self.prefix()),
            ("after", after),
        ];
        with_query(path, &parameters)
    }
}

fn form(app: &App, wanted: &Wanted, facts: &Facts) -> Markup {
    let providers: Vec<(&str, &str)> = facts
        .providers
        .iter()
        .map(|name| (name.as_str(), name.as_str()))
        .collect();
    let tags: Vec<(&str, &str)> = facts
        .tables
        .iter()
        .filter(|table| table.readable)
        .map(|table| (table.name.as_str(), tag::name(&table.name)))
        .collect();
    let processes: Vec<(&str, &str)> = facts
        .processes
        .iter()
        .map(|name| (name.as_str(), name.as_str()))
        .collect();
    let states = ItemState::ALL.map(|state| (state.as_str(), state::words(state)));
    let fields = [
        filter::text(
            "prefix",
            "Id begins with",
            wanted.prefix(),
            "67e55044 or Equinix/8d2b",
        ),
        filter::choice("provider", "Provider", wanted.provider(), &providers),
        filter::choice("tag", "Tag", wanted.tag(), &tags),
        filter::choice("process", "Process", wanted.process(), &processes),
        filter::choice("state", "is", wanted.state(), &states),
    ];
    let all = app.links().machines();
    filter::form(&all, &fields, wanted.is_narrow().then_some(all.as_str()))
}

/// What a page says of itself.
fn remarks(page: &FleetPage) -> Markup {
    html! {
        @if let Some(looked_at) = page.looked_at {
            p.muted {
                "Looked at " (looked_at) " machines, of which " (page.machines.len()) " fit. "
                "There may be more: go on, or filter by something rarer."
            }
        }
        @if page.left_out {
            p.muted {
                "More than " (fleet::CANDIDATES) " machines have been due since the very same moment; "
                "only so many of them are listed. Filter by the beginning of an id to see the others."
            }
        }
    }
}

fn pages(wanted: &Wanted, all: &str, narrowed: &str, page: &FleetPage) -> Markup {
    let next = page.next.as_ref();
    let next = next.map(|next| wanted.link(all, &next.to_string()));
    let name = if page.looked_at.is_some() {
        "Go on"
    } else {
        "Next page"
    };
    let first = wanted.after.as_ref().map(|_| narrowed);
    pager::pager(first, next.as_deref().map(|next| (next, name)))
}
