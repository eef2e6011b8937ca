//! Machines page: the machines that match filters, a page at a time.

mod filters;
mod rows;
mod summary;

use self::filters::Filters;
use super::{Page, Section};
use crate::app::{App, TagTables};
use crate::component::{empty, pager::pager};
use crate::error::HttpError;
use crate::request::PageRequest;
use bmdb_core::TxError;
use bmdb_model::connection::AsyncPgConnection;
use bmdb_model::fleet::{self, FleetMachine, FleetPage, PageError};
use bmdb_model::{MachineId, ProcessDef, Provider, custom_tags, process};
use maud::{Markup, html};

/// Rows of a page.
const PAGE: usize = 50;

struct Facts {
    tables: TagTables,
    providers: Vec<Provider>,
    processes: Vec<ProcessDef>,
    page: FleetPage,
    machines: Vec<FleetMachine>,
    /// Machines and the index of a tag table that has a row for them.
    tags: Vec<(MachineId, usize)>,
}

pub(crate) async fn show(app: App, request: PageRequest) -> Result<Page, HttpError> {
    let filters = Filters::of(&request.parameters(&filters::PARAMETERS)?)?;
    let (moment, facts) = app
        .read(async |conn| facts(&app, conn, &filters).await)
        .await?;
    let facts = facts?;
    let all = app.links.machines();
    let is_first = filters.after.is_none();
    let is_complete = is_first && facts.page.next.is_none();
    let next_label = match facts.page.looked_at {
        Some(_) => "Continue the search",
        None => "Next page",
    };
    let body = html! {
        @if is_first && !filters.is_set() { (summary::show(&app)) }
        (filters.form(&all, &facts.providers, &facts.tables, &facts.processes))
        @if !facts.machines.is_empty() {
            (rows::show(&app.links, moment.at, &facts.machines, &facts.tables, &facts.tags))
        } @else if filters.is_set() && is_complete {
            (empty::no_match("machines", &all))
        } @else if is_complete {
            (empty::teach(
                "No machines yet.",
                "This page lists the machines of the fleet: their providers, their tags, and the state of \
                 each process on them. To import machines from a file:",
                "bmdb machine import fleet.json",
            ))
        } @else { p { "No machine on this page matches." } }
        (remarks(&facts.page))
        (pager(is_first, facts.page.next.as_ref(), next_label, |after| filters.address(&all, after)))
    };
    Ok(Page::new("Machines", Section::Machines, body).read_at(moment))
}

async fn facts(
    app: &App,
    conn: &mut AsyncPgConnection,
    filters: &Filters,
) -> Result<Result<Facts, HttpError>, TxError> {
    let tables = app.tag_tables(conn).await?;
    let filter = match filters.query(&tables) {
        Ok(filter) => filter,
        Err(error) => return Ok(Err(error)),
    };
    let page = match fleet::page(conn, &filter, filters.after.as_ref(), PAGE).await {
        Ok(page) => page,
        Err(PageError::Database(error)) => return Err(error.into()),
        Err(other) => return Ok(Err(HttpError::bad_parameter("after", other.to_string()))),
    };
    let machines = fleet::details(conn, &page.machines).await?;
    let tags = custom_tags::present(conn, &page.machines, &tables).await?;
    Ok(Ok(Facts {
        processes: process::all(conn).await?,
        providers: fleet::providers(conn).await?,
        tables,
        page,
        machines,
        tags,
    }))
}

/// What the page leaves out.
fn remarks(page: &FleetPage) -> Markup {
    html! {
        @if let Some(looked_at) = page.looked_at {
            p.muted {
                "Searched " (looked_at) " machines; " (page.machines.len()) " match. "
                "There may be more: continue the search, or use a more selective filter."
            }
        }
        @if page.left_out {
            p.muted {
                "More than " (fleet::CANDIDATES) " machines became due at the same moment; only "
                (fleet::CANDIDATES) " of them are listed. To see the others, filter by the beginning of an id."
            }
        }
    }
}
