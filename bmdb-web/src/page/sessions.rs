//! Sessions page: the components that run, the newest first.

use super::{Page, Section};
use crate::app::App;
use crate::component::badge::{Tone, badge};
use crate::component::{empty, id, number, pager::pager, table::table, time};
use crate::error::HttpError;
use crate::link::{Links, with_query};
use crate::moment::Moment;
use crate::request::PageRequest;
use bmdb_model::session::{self, ClaimedCount, ListedSession, SessionKey};
use maud::{Markup, html};

/// Rows of a page.
const PAGE: i64 = 50;

pub(crate) async fn show(app: App, request: PageRequest) -> Result<Page, HttpError> {
    let after: Option<SessionKey> = request.parameters(&["after"])?.get("after")?;
    let read = app.read(async |conn| Ok(session::page(conn, after.as_ref(), PAGE).await?));
    let (moment, page) = read.await?;
    let links = &app.links;
    let body = html! {
        @if !page.rows.is_empty() {
            (rows(links, moment, &page.rows))
        } @else if after.is_some() {
            (empty::end_of_list())
        } @else {
            (empty::teach(
                "No sessions.",
                "A session is the lease of a program that claims machines. It lives while the program \
                 sends heartbeats. To start such a program:",
                empty::RUN,
            ))
        }
        (pager(after.is_none(), page.next.as_ref(), "Next page", |after| {
            with_query(&links.sessions(), &[("after", after)])
        }))
    };
    Ok(Page::new("Sessions", Section::Sessions, body).read_at(moment))
}

fn rows(links: &Links, moment: Moment, rows: &[ListedSession]) -> Markup {
    let heads = [
        "Session",
        "Component",
        "State",
        "Deadline",
        "Started",
        "Claimed",
        "Runs as",
    ];
    table("Sessions, the newest first", &heads, rows, |session| {
        let row = &session.row;
        vec![
            id::session(links, row.id),
            html! { (row.component_name) },
            state(session),
            time::short(row.deadline, moment.at),
            time::short(row.created_at, moment.at),
            number::show(claimed(session.claimed)),
            html! { span.cause { (row.runtime_info) } },
        ]
    })
}

pub(super) fn state(session: &ListedSession) -> Markup {
    if session.is_overlong {
        badge(Tone::Waiting, "overlong")
    } else if session.is_live {
        badge(Tone::Good, "live")
    } else {
        badge(Tone::Bad, "expired")
    }
}

/// How many machines a session has claimed.
pub(super) fn claimed(count: ClaimedCount) -> String {
    match count {
        ClaimedCount::Exactly(count) => count.to_string(),
        ClaimedCount::AtLeast(count) => format!("{count} or more"),
    }
}
