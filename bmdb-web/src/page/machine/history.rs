//! What happened on a machine, newest first: attempts, streaks of equal failures, and audit_log of people.

use crate::component::badge::{Tone, badge};
use crate::component::table::Table;
use crate::component::{empty, id, interval, pager, state, time};
use crate::link::{Links, with_query};
use crate::page::audit_log;
use bmdb_model::history::{Entry, HistoryKey, PastAttempt};
use bmdb_model::operator::Action;
use bmdb_model::work::ClaimedWork;
use bmdb_model::{MachineId, Page};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

pub(super) fn show(
    links: &Links,
    now: DateTime<Utc>,
    machine: MachineId,
    is_later_page: bool,
    page: &Page<Entry, HistoryKey>,
) -> Markup {
    let heads = ["When", "What", "Process", "By", "Details"];
    let mut table = Table::new("History of the machine, newest first", &heads);
    for entry in &page.rows {
        table.row(match entry {
            Entry::Ongoing(work) => ongoing(links, now, work),
            Entry::Past(attempt) => past(links, now, attempt),
            Entry::Action(action) => act(links, now, action),
        });
    }
    let first = links.machine(machine);
    let next = page
        .next
        .map(|next| with_query(&first, &[("after", &next.to_string())]));
    html! {
        h2 #history { "History" }
        @if !table.is_empty() { (table.render()) }
        @else if is_later_page || next.is_some() { p { "Nothing on this page." } }
        @else {
            (empty::teach(
                "Nothing has happened yet.",
                "Each attempt of a process is listed here when it has ended, and what people do by hand.",
                &format!("bmdb history {machine}"),
            ))
        }
        (pager::pager(
            is_later_page.then_some(first.as_str()),
            next.as_deref().map(|next| (next, "Older")),
        ))
    }
}

fn ongoing(links: &Links, now: DateTime<Utc>, work: &ClaimedWork) -> Vec<Markup> {
    vec![
        html! { "since " (time::relative(work.started_at, now)) },
        badge(Tone::Busy, "claimed"),
        html! { (work.process) },
        html! { (id::session(links, work.session)) " " span.muted.cause { (work.component) } },
        html! {
            "fence " span.number { (work.fence) }
            @if !work.is_live { ", its lease has expired" }
        },
    ]
}

fn past(links: &Links, now: DateTime<Utc>, attempt: &PastAttempt) -> Vec<Markup> {
    let lasted = (attempt.ended_at - attempt.started_at).num_seconds();
    let lasted = time::length(lasted.unsigned_abs());
    vec![
        time::relative(attempt.ended_at, now),
        html! {
            (state::outcome(attempt.outcome))
            @if attempt.repeats > 0 { " " strong.number { "×" (attempt.repeats.saturating_add(1)) } }
        },
        html! { (attempt.process) },
        id::session(links, attempt.session),
        html! {
            @if let Some(cause) = &attempt.cause { div.cause { (cause) } }
            span.muted {
                @if let Some(seconds) = attempt.interval_seconds { "then waits " (interval::show(seconds)) " · " }
                @if attempt.repeats > 0 {
                    "from " (time::plain(attempt.started_at)) " to " (time::plain(attempt.ended_at))
                    ", fences " (attempt.fence) " to " (attempt.last_fence)
                } @else {
                    "took " (lasted) ", fence " (attempt.fence)
                }
            }
        },
    ]
}

fn act(links: &Links, now: DateTime<Utc>, action: &Action) -> Vec<Markup> {
    vec![
        time::relative(action.acted_at, now),
        badge(Tone::Quiet, &audit_log::words(&action.verb)),
        html! { @if let Some(process) = &action.process { (process) } },
        html! { (action.operator) },
        html! {
            @if let Some(reason) = &action.reason { span.cause { (reason) } " " }
            span.muted {
                @if let Some(session) = action.session { "session " (id::session(links, session)) " " }
                @if let Some(fence) = action.fence { "fence " (fence) " " }
                @for (name, value) in &action.details { span.cause { (name) ": " (value) } " " }
            }
        },
    ]
}
