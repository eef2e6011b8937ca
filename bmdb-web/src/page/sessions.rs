//! Sessions: the control loops that run, the newest first.

use super::{Page, Section};
use crate::app::{App, Moment};
use crate::component::badge::{Tone, badge};
use crate::component::{empty, id, pager, table::Table, time};
use crate::error::Problem;
use crate::link::{Links, with_query};
use crate::request::Asked;
use bmdb_model::session::{self, ClaimedCount, ListedSession, SessionKey};
use maud::{Markup, html};

/// How many sessions a page has.
const PAGE: i64 = 50;

pub(crate) async fn show(app: App, asked: Asked) -> Result<Page, Problem> {
    let after: Option<SessionKey> = asked.parameters(&["after"])?.get("after")?;
    let read = app.read(async |conn| Ok(session::page(conn, after.as_ref(), PAGE).await?));
    let (moment, page) = read.await?;
    let links = app.links();
    let first = links.sessions();
    let next = page.next.as_ref().map(|key| {
        let after = key.to_string();
        with_query(&links.sessions(), &[("after", &after)])
    });
    let body = html! {
        @if !page.rows.is_empty() {
            (table(links, moment, &page.rows))
        } @else if after.is_some() {
            p { "This was the last page." }
        } @else {
            (empty::teach(
                "No control loop runs.",
                "A session is the lease of a program that works on machines: it lives for as long as \
                 the program sends heartbeats. Start one:",
                "bmdb run --process ShepherdAgentStart --provider Equinix --exec './start-agent.sh'",
            ))
        }
        (pager::pager(
            after.is_some().then_some(first.as_str()),
            next.as_deref().map(|next| (next, "Next page")),
        ))
    };
    Ok(Page::new("Sessions", Section::Sessions, body).of(moment))
}

fn table(links: &Links, moment: Moment, rows: &[ListedSession]) -> Markup {
    let heads = [
        "Session",
        "Component",
        "State",
        "Deadline",
        "Started",
        "Holds",
        "Runs as",
    ];
    let mut table = Table::new("Sessions, the newest first", &heads);
    for session in rows {
        let row = &session.row;
        table.row(vec![
            id::session(links, row.id),
            html! { (row.component_name) },
            state(session.is_live),
            time::short(row.deadline, moment.at),
            time::short(row.created_at, moment.at),
            html! { span.number { (holds(session.claimed)) } },
            html! { span.cause { (row.runtime_info) } },
        ]);
    }
    table.render()
}

pub(super) fn state(is_live: bool) -> Markup {
    if is_live {
        badge(Tone::Good, "live")
    } else {
        badge(Tone::Bad, "expired")
    }
}

pub(super) fn holds(held: ClaimedCount) -> String {
    match held {
        ClaimedCount::Exactly(held) => held.to_string(),
        ClaimedCount::AtLeast(held) => format!("{held} or more"),
    }
}
