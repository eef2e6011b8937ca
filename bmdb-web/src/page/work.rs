//! Work now: what is held, the longest first.

use super::{Page, Section};
use crate::app::{App, Moment};
use crate::component::badge::{Tone, badge};
use crate::component::{empty, filter, id, pager, table::Table, time};
use crate::error::Problem;
use crate::link::{Links, with_query};
use crate::request::Asked;
use bmdb_model::work::{
    self, ClaimedFilter, ClaimedWork, LongestClaimed, LongestClaimedKey, STUCK_AFTER,
};
use bmdb_model::{Process, process};
use chrono::TimeDelta;
use maud::{Markup, html};

/// How many items a page has.
const PAGE: i64 = 50;

pub(crate) async fn show(app: App, asked: Asked) -> Result<Page, Problem> {
    let parameters = asked.parameters(&["process", "component", "after"])?;
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
    let (moment, (LongestClaimed { page, is_all, .. }, definitions)) = read.await?;
    let links = app.links();
    let chosen = filter
        .process
        .as_ref()
        .map_or("", |process| process.as_str());
    let component = filter.component.as_deref().unwrap_or_default();
    let names: Vec<&str> = definitions.iter().map(|d| d.process.as_str()).collect();
    let values: Vec<(&str, &str)> = names.iter().map(|name| (*name, *name)).collect();
    let is_filtered = !chosen.is_empty() || !component.is_empty();
    let all = links.work();
    let address = |after: &str| {
        let parameters = [
            ("process", chosen),
            ("component", component),
            ("after", after),
        ];
        with_query(&links.work(), &parameters)
    };
    let first = address("");
    let next = page.next.as_ref().map(|key| address(&key.to_string()));
    let body = html! {
        (filter::form(
            &all,
            &[
                filter::choice("process", "Process", chosen, &values),
                filter::text("component", "Component", component, "agent-starter"),
            ],
            is_filtered.then_some(all.as_str()),
        ))
        @if !is_all {
            p.muted { "More than 10,000 items are held: this is the longest of 10,000 of them." }
        }
        @if !page.rows.is_empty() {
            (table(links, moment, "Work that is held, the longest first", Holders::Shown, &page.rows))
        } @else if after.is_some() {
            p { "This was the last page." }
        } @else if is_filtered {
            (empty::nothing_fits("work that is held", &all))
        } @else {
            (empty::teach(
                "Nobody is at work.",
                "This page lists the machines that somebody works on now, and for how long. Work is \
                 taken on by control loops, such as one that runs a command for each machine:",
                "bmdb run --process ShepherdAgentStart --provider Equinix --exec './start-agent.sh'",
            ))
        }
        (pager::pager(
            after.is_some().then_some(first.as_str()),
            next.as_deref().map(|next| (next, "Next page")),
        ))
    };
    Ok(Page::new("Work now", Section::Work, body).of(moment))
}

/// Whether a table of held work says whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holders {
    /// Anybody's.
    Shown,
    /// It is the table of one session.
    Known,
}

/// What is held, as a table.
pub(super) fn table(
    links: &Links,
    moment: Moment,
    caption: &str,
    holders: Holders,
    rows: &[ClaimedWork],
) -> Markup {
    let shows = |head: &&str| *head != HOLDER || holders == Holders::Shown;
    let heads: Vec<&str> = HEADS.into_iter().filter(shows).collect();
    let mut table = Table::new(caption, &heads);
    for row in rows {
        let mut cells = vec![
            id::machine(links, row.machine),
            html! { (row.process) },
            held_for(moment, row),
        ];
        if holders == Holders::Shown {
            cells.push(holder(links, row));
        }
        cells.extend([
            waited(row),
            html! { span.number { (attempt(row)) } },
            html! { code { (row.fence) } },
        ]);
        table.row(cells);
    }
    table.render()
}

const HOLDER: &str = "Session";

const HEADS: [&str; 7] = [
    "Machine",
    "Process",
    "Held since",
    HOLDER,
    "Waited",
    "Attempt",
    "Fence",
];

fn holder(links: &Links, row: &ClaimedWork) -> Markup {
    html! {
        (id::session(links, row.session)) " " (row.component)
        @if !row.is_live { " " (badge(Tone::Waiting, "expired")) }
    }
}

fn held_for(moment: Moment, row: &ClaimedWork) -> Markup {
    let held = (moment.at - row.started_at).to_std().unwrap_or_default();
    html! {
        (time::short(row.started_at, moment.at))
        @if held > STUCK_AFTER { " " (badge(Tone::Bad, "stuck")) }
    }
}

/// From when it was due to when it was claimed.
fn waited(row: &ClaimedWork) -> Markup {
    match row.due_since {
        Some(due) => {
            html! { span.length { (milliseconds((row.started_at - due).num_milliseconds())) } }
        }
        None => {
            html! { span.muted title="It was claimed without a look at the queue." { "unknown" } }
        }
    }
}

/// How many attempts in a row this is, and whether its sessions kept dying.
fn attempt(row: &ClaimedWork) -> Markup {
    html! {
        (row.failures.saturating_add(1))
        @if row.losses > 0 { " " (badge(Tone::Waiting, &format!("lost {} times", row.losses))) }
    }
}

/// A length of time that may be shorter than a second.
pub(super) fn milliseconds(milliseconds: i64) -> String {
    let length = TimeDelta::milliseconds(milliseconds.max(0));
    match length.num_milliseconds() {
        0..1_000 => format!("{} ms", length.num_milliseconds()),
        1_000..10_000 => format!("{:.1} s", length.num_milliseconds() as f64 / 1000.0),
        _ => time::length(length.num_seconds().unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn short_times_are_shown_as_exactly_as_they_matter() {
        for (given, expected) in [
            (-5, "0 ms"),
            (999, "999 ms"),
            (1_250, "1.2 s"),
            (61_000, "1 min 1 s"),
        ] {
            assert_eq!(milliseconds(given), expected);
        }
        milliseconds(i64::MAX);
    }
}
