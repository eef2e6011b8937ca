//! One machine: what it is, what shuts its gates, and what has happened to it.

mod backoffs;
mod gates;
mod history;
mod tags;

use super::{Page, Section};
use crate::app::{App, Moment, TagTables};
use crate::asked::Asked;
use crate::component::{id, time};
use crate::problem::Problem;
use bmdb_core::TxError;
use bmdb_model::connection::AsyncPgConnection;
use bmdb_model::gates::Gates;
use bmdb_model::history::{Entry, HistoryKey};
use bmdb_model::hold::Hold;
use bmdb_model::machine::{self, Machine};
use bmdb_model::reflect::{self, Tag};
use bmdb_model::{MachineId, hold};
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
    machine: Machine,
    hold: Option<Hold>,
    tables: TagTables,
    tags: Vec<Tag>,
    gates: Vec<Gates>,
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
                @if after.is_none() { (present(&app, moment, known, &facts.history)) }
                @else { p { a href=(links.machine(machine)) { "What the machine is now" } } }
            };
            (title(machine, known), present)
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
        Some(machine) => {
            let tables = app.tag_tables(conn).await?;
            Some(Known {
                machine,
                hold: hold::of(conn, id).await?,
                tags: reflect::tags(conn, id, &tables).await?,
                tables,
                gates: bmdb_model::gates::of(conn, id).await?,
            })
        }
    };
    Ok(Facts {
        machine,
        history: bmdb_model::history::page(conn, id, None, after, PAGE).await?,
    })
}

/// The provider's name for it, for people know machines by that; else the first digits of its id.
fn title(machine: MachineId, known: &Known) -> String {
    let provided = tags::provided(&known.tables, &known.tags);
    provided.unwrap_or_else(|| short(machine))
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

fn present(
    app: &App,
    moment: Moment,
    known: &Known,
    history: &bmdb_model::Page<Entry, HistoryKey>,
) -> Markup {
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
        (backoffs::show(now, &known.gates, &history.rows))
        h2 #tags { "Tags" }
        (tags::show(links, now, &known.tables, &known.tags))
    }
}
