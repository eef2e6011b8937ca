//! The fleet: machines in the order of their ids.

use super::{Page, Section};
use crate::app::App;
use crate::asked::Asked;
use crate::component::{empty, id, pager, table::Table};
use crate::link::with_query;
use crate::problem::Problem;
use bmdb_model::{MachineId, machine};
use maud::html;

/// How many machines a page has.
const PAGE: usize = 50;

pub(crate) async fn show(app: App, asked: Asked) -> Result<Page, Problem> {
    let after = asked.parameters(&["after"])?.get::<MachineId>("after")?;
    let look = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let (moment, mut machines) = app
        .read(async |conn| Ok(machine::page(conn, after, look).await?))
        .await?;
    let more = machines.len() > PAGE;
    machines.truncate(PAGE);
    let links = app.links();
    let mut table = Table::new("Machines", &["Machine"]);
    for machine in &machines {
        table.row(vec![id::machine(links, *machine)]);
    }
    let last = machines.last().map(ToString::to_string).unwrap_or_default();
    let next = with_query(&links.machines(), &[("after", &last)]);
    let first = links.machines();
    let body = html! {
        @if table.is_empty() {
            (empty::teach(
                "No machines yet.",
                "This page lists the machines of the fleet, with their tags and what they wait for.",
                "bmdb machine import fleet.json",
            ))
        } @else { (table.render()) }
        (pager::pager(after.map(|_| first.as_str()), more.then_some((next.as_str(), "Next page"))))
    };
    Ok(Page::new("Machines", Section::Machines, body).of(moment))
}
