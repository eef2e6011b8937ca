//! One machine: what it is, what shuts its gates, and what has happened to it.

mod backoffs;
mod gates;
mod history;
mod tags;

use super::{Page, Section};
use crate::app::{App, Moment, TagTables};
use crate::component::{id, time};
use crate::error::Problem;
use crate::request::Asked;
use bmdb_core::TxError;
use bmdb_model::connection::AsyncPgConnection;
use bmdb_model::custom_tags::{self, Tag};
use bmdb_model::gates::Gates;
use bmdb_model::history::{Entry, HistoryKey, PastAttempt};
use bmdb_model::hold::Hold;
use bmdb_model::machine::{self, Machine};
use bmdb_model::{MachineId, Provided, hold, provided};
use maud::{Markup, html};

/// How many entries of history a page has.
const PAGE: i64 = 50;

/// What is shown.
struct Facts {
    /// `None` where there is no such machine; its history may be there nevertheless.
    machine: Option<Known>,
    history: bmdb_model::Page<Entry, HistoryKey>,
}

/// A machine that there is.
struct Known {
    provided: Option<Provided>,
    /// Only read for the first page.
    present: Option<Present>,
}

/// What a machine is now.
struct Present {
    machine: Machine,
    hold: Option<Hold>,
    tables: TagTables,
    tags: Vec<Tag>,
    gates: Vec<Gates>,
    failures: Vec<PastAttempt>,
}

pub(crate) async fn show(app: App, asked: Asked) -> Result<Page, Problem> {
    let machine = asked.machine()?;
    let parameters = asked.parameters(&["after"])?;
    let after: Option<HistoryKey> = parameters.get("after")?;
    let (moment, facts) = app
        .read(async |conn| facts(&app, conn, machine, after.as_ref()).await)
        .await?;
    let past = history::show(
        app.links(),
        moment.at,
        machine,
        after.is_some(),
        &facts.history,
    );
    let links = app.links();
    let (title, present) = match &facts.machine {
        Some(known) => {
            // Whoever turns the pages of history wants to see history.
            let present = html! {
                @if let Some(known) = &known.present { (present(&app, moment, known)) }
                @else { p { a href=(links.machine(machine)) { "What the machine is now" } } }
            };
            (title(machine, known.provided.as_ref()), present)
        }
        None if facts.history.rows.is_empty() && facts.history.next.is_none() => {
            return Err(unknown(machine));
        }
        None => (short(machine), deleted(machine)),
    };
    let page = Page::new(title, Section::Machines, html! { (present) (past) });
    Ok(page.of(moment).below("Machines", links.machines()))
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

/// The provider's name for it, for people know machines by that; else the first digits of its id.
fn title(machine: MachineId, provided: Option<&Provided>) -> String {
    match provided {
        Some(provided) => format!("{}/{}", provided.provider, provided.provider_id),
        None => short(machine),
    }
}

fn short(machine: MachineId) -> String {
    let id = machine.to_string();
    format!("Machine {}", id.get(..8).unwrap_or(&id))
}

fn unknown(machine: MachineId) -> Problem {
    let reason = format!("There is no machine {machine}.");
    let advice = "It may have been deleted, and its history with time. See the list of machines.";
    Problem::not_found(reason, advice)
}

/// Of which only the history is left.
fn deleted(machine: MachineId) -> Markup {
    html! {
        div.notice {
            p.lead { "This machine has been deleted." }
            p {
                "Nobody knows " (id::whole(machine)) " any more. What happened to it is kept for a \
                 while, and shown below."
            }
        }
    }
}

fn present(app: &App, moment: Moment, known: &Present) -> Markup {
    let (links, now, machine) = (app.links(), moment.at, &known.machine);
    html! {
        @if let Some(hold) = &known.hold {
            div.notice.bad {
                p.lead { "On hold: " (hold.reason) }
                p {
                    "Since " (time::relative(hold.since, now)) ". Nothing new starts on it until "
                    code { "bmdb machine release " (machine.id) } "."
                }
            }
        }
        dl.facts.panel {
            dt { "Machine" } dd { (id::whole(machine.id)) }
            dt { "Known since" } dd { (time::relative(machine.created_at, now)) }
            dt { "Tags written" } dd { (gates::times(machine.version)) }
        }
        h2 #processes { "Processes" }
        (gates::show(links, now, machine.id, &known.gates))
        h2 #backoffs { "Backoffs" }
        (backoffs::show(now, &known.gates, &known.failures))
        h2 #tags { "Tags" }
        (tags::show(links, now, &known.tables, &known.tags))
    }
}
