//! Backoffs page: which machines back off, until when, and why.

use super::{Page, Section};
use crate::app::App;
use crate::component::badge::{Tone, badge, expired_attempts};
use crate::component::{
    cause, empty, filter, id, interval, number, pager::pager, table::table, time,
};
use crate::error::HttpError;
use crate::link::{Links, with_query};
use crate::moment::Moment;
use crate::request::PageRequest;
use bmdb_model::backoff::{self, BackoffKey, ListedBackoff, Which};
use bmdb_model::{Process, process};
use maud::{Markup, html};

/// Rows of a page.
const PAGE: i64 = 50;

const ACTIVE: &str = "active";
const EXPIRED: &str = "expired";

pub(crate) async fn show(app: App, request: PageRequest) -> Result<Page, HttpError> {
    let parameters = request.parameters(&["process", "which", "after"])?;
    let process: Option<Process> = parameters.get("process")?;
    let after: Option<BackoffKey> = parameters.get("after")?;
    let (which, name) = match parameters.text("which") {
        None | Some(ACTIVE) => (Which::Active, ""),
        Some(EXPIRED) => (Which::Expired, EXPIRED),
        Some(other) => {
            let reason = format!("{other:?} is unknown; expected {ACTIVE} or {EXPIRED}");
            return Err(HttpError::bad_parameter("which", reason));
        }
    };
    let read = app.read(async |conn| {
        let page = backoff::page(conn, which, process.as_ref(), after.as_ref(), PAGE).await?;
        Ok((page, process::all(conn).await?))
    });
    let (moment, (page, defined)) = read.await?;
    let links = &app.links;
    let all = links.backoffs();
    let chosen = process.as_ref().map_or("", Process::as_str);
    let address = |which: &str, after: &str| {
        let parameters = [("process", chosen), ("which", which), ("after", after)];
        with_query(&all, &parameters)
    };
    let tab = |which: &str, label: &str| {
        let is_current = (which == name).then_some("true");
        html! { a href=(address(which, "")) aria-current=[is_current] { (label) } }
    };
    let body = html! {
        nav.tabs aria-label="Which backoffs" { (tab("", "In force")) (tab(EXPIRED, "Expired")) }
        (filter::form(&all, !chosen.is_empty(), &[
            filter::process(chosen, &defined),
            html! { input type="hidden" name="which" value=(name); },
        ]))
        @if !page.rows.is_empty() {
            (rows(links, moment, which, &page.rows))
        } @else if after.is_some() {
            (empty::end_of_list())
        } @else if !chosen.is_empty() {
            (empty::no_match("backoffs", &all))
        } @else {
            (nothing(which))
        }
        (pager(after.is_none(), page.next.as_ref(), "Next page", |after| address(name, after)))
    };
    Ok(Page::new("Backoffs", Section::Backoffs, body).read_at(moment))
}

fn nothing(which: Which) -> Markup {
    match which {
        Which::Active => empty::teach(
            "No machine is backing off.",
            "After a failure, a process waits before it claims the same machine again. The interval \
             grows with every failure in a row; this page shows when it ends, and the cause. The \
             control loop sets the policy:",
            "bmdb run … --backoff 'initial=5m,max=4h,factor=1.2,jitter=full'",
        ),
        Which::Expired => empty::teach(
            "No backoff has expired.",
            "An expired backoff stays in this list until the machine is claimed. If the list is long, \
             too few control loops run for these processes. To list them:",
            "bmdb session list",
        ),
    }
}

fn rows(links: &Links, moment: Moment, which: Which, rows: &[ListedBackoff]) -> Markup {
    let (caption, until) = match which {
        Which::Active => ("Backoffs in force, the next to end first", "Ends"),
        Which::Expired => ("Expired backoffs, the last to end first", "Ended"),
    };
    let heads = ["Machine", "Process", until, "Interval", "Failures", "Cause"];
    table(caption, &heads, rows, |row| {
        vec![
            id::machine_of(links, row.machine, row.provider.as_ref()),
            html! { (row.process) },
            html! {
                (time::relative(row.until, moment.at))
                @if !row.is_eligible { " " (badge(Tone::Quiet, "not eligible")) }
            },
            html! { @if let Some(seconds) = row.last_interval_seconds { (interval::show(seconds)) } },
            html! { (number::show(row.failures)) (expired_attempts(row.losses)) },
            cause::optional(row.cause.as_deref()),
        ]
    })
}
