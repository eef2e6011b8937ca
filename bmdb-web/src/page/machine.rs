//! Machine page: its gates, backoffs and tags now, and its history.

mod backoffs;
mod gates;
mod history;
mod tags;

use super::{Page, Section};
use crate::app::{App, TagTables};
use crate::component::{id, number, time};
use crate::error::HttpError;
use crate::moment::Moment;
use crate::request::PageRequest;
use bmdb_core::TxError;
use bmdb_model::connection::AsyncPgConnection;
use bmdb_model::custom_tags::{self, Tag};
use bmdb_model::gates::Gates;
use bmdb_model::history::{Entry, HistoryKey, PastAttempt};
use bmdb_model::hold::Hold;
use bmdb_model::machine::{self, Machine};
use bmdb_model::{MachineId, Provided, hold, provided};
use maud::{Markup, html};

/// Rows of a page of history.
const PAGE: i64 = 50;

struct Facts {
    /// `None` if the machine does not exist. It may still have history.
    machine: Option<Known>,
    history: bmdb_model::Page<Entry, HistoryKey>,
}

struct Known {
    provided: Option<Provided>,
    /// Only read for the first page of history.
    present: Option<Present>,
}

struct Present {
    machine: Machine,
    hold: Option<Hold>,
    tables: TagTables,
    tags: Vec<Tag>,
    gates: Vec<Gates>,
    failures: Vec<PastAttempt>,
}

pub(crate) async fn show(app: App, request: PageRequest) -> Result<Page, HttpError> {
    let machine: MachineId = request.id()?;
    let after: Option<HistoryKey> = request.parameters(&["after"])?.get("after")?;
    let (moment, facts) = app
        .read(async |conn| facts(&app, conn, machine, after.as_ref()).await)
        .await?;
    let links = &app.links;
    let past = history::show(links, moment.at, machine, after.is_none(), &facts.history);
    let (title, present) = match &facts.machine {
        Some(known) => {
            // Later pages of history only show history.
            let present = html! {
                @if let Some(known) = &known.present { (present(&app, moment, known)) }
                @else { p { a href=(links.machine(machine)) { "Back to the machine" } } }
            };
            (title(machine, known.provided.as_ref()), present)
        }
        None if facts.history.rows.is_empty() && facts.history.next.is_none() => {
            let reason = format!("There is no machine {machine}.");
            let advice =
                "It may have been deleted, and its history trimmed. See the list of machines.";
            return Err(HttpError::not_found(reason, advice));
        }
        None => (title(machine, None), deleted(machine)),
    };
    let page = Page::new(title, Section::Machines, html! { (present) (past) });
    Ok(page.read_at(moment).below("Machines", links.machines()))
}

async fn facts(
    app: &App,
    conn: &mut AsyncPgConnection,
    id: MachineId,
    after: Option<&HistoryKey>,
) -> Result<Facts, TxError> {
    let machine = match machine::find(conn, id).await? {
        None => None,
        Some(machine) => Some(Known {
            provided: provided::of(conn, id).await?,
            present: match after {
                None => Some(present_of(app, conn, machine).await?),
                Some(_) => None,
            },
        }),
    };
    Ok(Facts {
        machine,
        history: bmdb_model::history::page(conn, id, None, after, PAGE).await?,
    })
}

async fn present_of(
    app: &App,
    conn: &mut AsyncPgConnection,
    machine: Machine,
) -> Result<Present, TxError> {
    let tables = app.tag_tables(conn).await?;
    let gates = bmdb_model::gates::of(conn, machine.id).await?;
    Ok(Present {
        hold: hold::of(conn, machine.id).await?,
        tags: custom_tags::tags(conn, machine.id, &tables).await?,
        tables,
        failures: backoffs::failures(conn, machine.id, &gates).await?,
        gates,
        machine,
    })
}

/// The provider's name for the machine, which people know; otherwise the first digits of its id.
fn title(machine: MachineId, provided: Option<&Provided>) -> String {
    match provided {
        Some(provided) => format!("{}/{}", provided.provider, provided.provider_id),
        None => format!("Machine {}", id::short(machine)),
    }
}

fn deleted(machine: MachineId) -> Markup {
    html! {
        div.notice {
            p.lead { "This machine has been deleted." }
            p { "Only the history of " (id::whole(machine)) " is left, until it is trimmed." }
        }
    }
}

fn present(app: &App, moment: Moment, known: &Present) -> Markup {
    let (links, now, machine) = (&app.links, moment.at, &known.machine);
    html! {
        @if let Some(hold) = &known.hold {
            div.notice.bad {
                p.lead { "On hold: " (hold.reason) }
                p {
                    "Since " (time::relative(hold.since, now)) ". No process claims it until "
                    code { "bmdb machine release " (machine.id) } "."
                }
            }
        }
        dl.facts.panel {
            dt { "Machine" } dd { (id::whole(machine.id)) }
            dt { "Created" } dd { (time::relative(machine.created_at, now)) }
            dt { "Tags written" } dd { (number::times(machine.version)) }
        }
        h2 #processes { "Processes" }
        (gates::show(links, now, machine.id, &known.gates))
        h2 #backoffs { "Backoffs" }
        (backoffs::show(now, &known.gates, &known.failures))
        h2 #tags { "Tags" }
        (tags::show(links, now, &known.tables, &known.tags))
    }
}
