//! Work page: the machines that are claimed now, the longest first.

use super::{Page, Section};
use crate::app::App;
use crate::component::badge::{Tone, badge, expired_attempts};
use crate::component::{empty, filter, id, number, pager::pager, table::table, time};
use crate::error::HttpError;
use crate::link::{Links, with_query};
use crate::moment::Moment;
use crate::request::PageRequest;
use bmdb_model::work::{
    self, ClaimedFilter, ClaimedWork, LongestClaimed, LongestClaimedKey, STUCK_AFTER,
};
use bmdb_model::{Process, process};
use maud::{Markup, html};

/// Rows of a page.
const PAGE: i64 = 50;

pub(crate) async fn show(app: App, request: PageRequest) -> Result<Page, HttpError> {
    let parameters = request.parameters(&["process", "component", "after"])?;
    let after: Option<LongestClaimedKey> = parameters.get("after")?;
    let filter = ClaimedFilter {
        process: parameters.get::<Process>("process")?,
        component: parameters.text("component").map(str::to_owned),
        ..ClaimedFilter::default()
    };
    let read = app.read(async |conn| {
        let longest = work::longest_claimed(conn, &filter, after.as_ref(), PAGE).await?;
        Ok((longest, process::all(conn).await?))
    });
    let (moment, (LongestClaimed { page, is_all, .. }, defined)) = read.await?;
    let links = &app.links;
    let all = links.work();
    let process = filter.process.as_ref().map_or("", Process::as_str);
    let component = filter.component.as_deref().unwrap_or_default();
    let is_filtered = !process.is_empty() || !component.is_empty();
    let body = html! {
        (filter::form(&all, is_filtered, &[
            filter::process(process, &defined),
            filter::text("component", "Component", component, "agent-starter"),
        ]))
        @if !is_all {
            p.muted { "More than 10,000 machines are claimed: this list only has 10,000 of them." }
        }
        @if !page.rows.is_empty() {
            (rows(links, moment, "Claimed machines, the longest first", Sessions::Shown, &page.rows))
        } @else if after.is_some() {
            (empty::end_of_list())
        } @else if is_filtered {
            (empty::no_match("claimed machines", &all))
        } @else {
            (empty::teach(
                "No machine is claimed.",
                "This page lists the machines that components work on now, and for how long. Control \
                 loops claim machines, such as one that runs a command for each machine:",
                empty::RUN,
            ))
        }
        (pager(after.is_none(), page.next.as_ref(), "Next page", |after| {
            let parameters = [("process", process), ("component", component), ("after", after)];
            with_query(&all, &parameters)
        }))
    };
    Ok(Page::new("Claimed work", Section::Work, body).read_at(moment))
}

/// Whether a table of claimed machines has the column of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sessions {
    Shown,
    /// All rows have the same session.
    Hidden,
}

pub(super) fn rows(
    links: &Links,
    moment: Moment,
    caption: &str,
    sessions: Sessions,
    rows: &[ClaimedWork],
) -> Markup {
    const SESSION: usize = 3;
    let mut heads = vec![
        "Machine",
        "Process",
        "Claimed since",
        "Session",
        "Waited",
        "Attempt",
        "Fence",
    ];
    if sessions == Sessions::Hidden {
        heads.remove(SESSION);
    }
    table(caption, &heads, rows, |row| {
        let mut cells = vec![
            id::machine(links, row.machine),
            html! { (row.process) },
            claimed_since(moment, row),
            session(links, row),
            waited(row),
            // The number of this attempt in a row.
            html! { (number::show(row.failures.saturating_add(1))) (expired_attempts(row.losses)) },
            html! { code { (row.fence) } },
        ];
        if sessions == Sessions::Hidden {
            cells.remove(SESSION);
        }
        cells
    })
}

fn session(links: &Links, row: &ClaimedWork) -> Markup {
    html! {
        (id::session(links, row.session)) " " (row.component)
        @if !row.is_live { " " (badge(Tone::Waiting, "expired")) }
    }
}

fn claimed_since(moment: Moment, row: &ClaimedWork) -> Markup {
    let claimed_for = (moment.at - row.started_at).to_std().unwrap_or_default();
    html! {
        (time::short(row.started_at, moment.at))
        @if claimed_for > STUCK_AFTER { " " (badge(Tone::Bad, "stuck")) }
    }
}

/// From due to claimed.
fn waited(row: &ClaimedWork) -> Markup {
    match row.due_since {
        Some(due) => {
            let waited = (row.started_at - due).num_milliseconds();
            html! { span.length { (time::milliseconds(waited)) } }
        }
        None => {
            html! { span.muted title="It was claimed by an explicit retrieval, not from the queue." { "unknown" } }
        }
    }
}
