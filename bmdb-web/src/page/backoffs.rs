//! Backoffs: which machines rest, until when, and why.

use super::{Page, Section};
use crate::app::{App, Moment};
use crate::component::badge::{Tone, badge};
use crate::component::{cause, empty, filter, id, interval, pager, table::Table, time};
use crate::error::Problem;
use crate::link::{Links, with_query};
use crate::request::Asked;
use bmdb_model::backoff::{self, BackoffKey, ListedBackoff, Which};
use bmdb_model::{Process, process};
use maud::{Markup, html};

/// How many backoffs a page has.
const PAGE: i64 = 50;

const ACTIVE: &str = "active";
const EXPIRED: &str = "expired";

pub(crate) async fn show(app: App, asked: Asked) -> Result<Page, Problem> {
    let parameters = asked.parameters(&["process", "which", "after"])?;
    let process: Option<Process> = parameters.get("process")?;
    let after: Option<BackoffKey> = parameters.get("after")?;
    let which = match parameters.text("which") {
        None | Some(ACTIVE) => Which::Active,
        Some(EXPIRED) => Which::Expired,
        Some(other) => {
            let known = format!("{other:?} is neither {ACTIVE} nor {EXPIRED}");
            return Err(Problem::bad_input("parameter \"which\"", known));
        }
    };
    let read = app.read(async |conn| {
        let page = backoff::page(conn, which, process.as_ref(), after.as_ref(), PAGE).await?;
        Ok((page, process::all(conn).await?))
    });
    let (moment, (page, definitions)) = read.await?;
    let links = app.links();
    let chosen = process.as_ref().map_or("", |process| process.as_str());
    let name = match which {
        Which::Active => "",
        Which::Expired => EXPIRED,
    };
    let address = |which: &str, after: &str| {
        let parameters = [("process", chosen), ("which", which), ("after", after)];
        with_query(&links.backoffs(), &parameters)
    };
    let (first, active, expired) = (address(name, ""), address("", ""), address(EXPIRED, ""));
    let next = page
        .next
        .as_ref()
        .map(|key| address(name, &key.to_string()));
    let names: Vec<&str> = definitions.iter().map(|d| d.process.as_str()).collect();
    let values: Vec<(&str, &str)> = names.iter().map(|name| (*name, *name)).collect();
    let all = links.backoffs();
    let body = html! {
        nav.tabs aria-label="Which backoffs" {
            a href=(active) aria-current=[(which == Which::Active).then_some("true")] { "In force" }
            a href=(expired) aria-current=[(which == Which::Expired).then_some("true")] { "Expired" }
        }
        (filter::form(
            &all,
            &[
                filter::choice("process", "Process", chosen, &values),
                html! { input type="hidden" name="which" value=(name); },
            ],
            (!chosen.is_empty()).then_some(all.as_str()),
        ))
        @if !page.rows.is_empty() {
            (table(links, moment, which, &page.rows))
        } @else if after.is_some() {
            p { "This was the last page." }
        } @else if !chosen.is_empty() {
            (empty::nothing_fits("backoff", &all))
        } @else {
            (nothing(which))
        }
        (pager::pager(
            after.is_some().then_some(first.as_str()),
            next.as_deref().map(|next| (next, "Next page")),
        ))
    };
    Ok(Page::new("Backoffs", Section::Backoffs, body).of(moment))
}

fn nothing(which: Which) -> Markup {
    match which {
        Which::Active => empty::teach(
            "No machine rests.",
            "When a process fails on a machine, the process leaves it alone for an interval that grows \
             with every failure in a row, and this page says until when, and why. The policy is the \
             control loop's:",
            "bmdb run … --backoff 'initial=5m,max=4h,factor=1.2,jitter=full'",
        ),
        Which::Expired => empty::teach(
            "No backoff has expired.",
            "A backoff whose time has passed is listed here until somebody claims the machine. A long \
             list means that nobody does: see which control loops run.",
            "bmdb session list",
        ),
    }
}

fn table(links: &Links, moment: Moment, which: Which, rows: &[ListedBackoff]) -> Markup {
    let (caption, opens) = match which {
        Which::Active => ("Backoffs in force, by when they end", "Ends"),
        Which::Expired => ("Backoffs that have expired, the last one first", "Ended"),
    };
    let heads = ["Machine", "Process", opens, "Interval", "Failures", "Cause"];
    let mut table = Table::new(caption, &heads);
    for row in rows {
        table.row(vec![
            html! {
                (id::machine(links, row.machine))
                @if let Some(provider) = &row.provider { " " span.muted { (provider) } }
            },
            html! { (row.process) },
            html! {
                (time::relative(row.until, moment.at))
                @if !row.is_eligible { " " (badge(Tone::Quiet, "not eligible")) }
            },
            html! { @if let Some(seconds) = row.last_interval_seconds { (interval::show(seconds)) } },
            html! {
                span.number { (row.failures) }
                @if row.losses > 0 { " " (badge(Tone::Waiting, &format!("lost {} times", row.losses))) }
            },
            html! { @if let Some(cause) = &row.cause { (cause::cause(cause)) } },
        ]);
    }
    table.render()
}
