//! The machine's history, newest first: attempts, streaks of equal failures, and operator actions.

use crate::component::badge::{Tone, badge};
use crate::component::{empty, id, interval, number, pager::pager, state, table::table, time};
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
    is_first: bool,
    page: &Page<Entry, HistoryKey>,
) -> Markup {
    let heads = ["When", "What", "Process", "By", "Details"];
    let caption = "History of the machine, newest first";
    html! {
        h2 #history { "History" }
        @if !page.rows.is_empty() {
            (table(caption, &heads, &page.rows, |entry| match entry {
                Entry::Ongoing(work) => ongoing(links, now, work),
                Entry::Past(attempt) => past(links, now, attempt),
                Entry::Action(action) => operator_action(links, now, action),
            }))
        } @else if is_first && page.next.is_none() {
            (empty::teach(
                "No history yet.",
                "Attempts are listed here when they end, and so are operator actions. The same on the \
                 command line:",
                &format!("bmdb history {machine}"),
            ))
        } @else {
            (empty::end_of_list())
        }
        (pager(is_first, page.next.as_ref(), "Older", |after| {
            with_query(&links.machine(machine), &[("after", after)])
        }))
    }
}

fn ongoing(links: &Links, now: DateTime<Utc>, work: &ClaimedWork) -> Vec<Markup> {
    vec![
        html! { "since " (time::relative(work.started_at, now)) },
        badge(Tone::Busy, "claimed"),
        html! { (work.process) },
        html! { (id::session(links, work.session)) " " span.muted.cause { (work.component) } },
        html! {
            "fence " (number::show(work.fence))
            @if !work.is_live { ", its lease has expired" }
        },
    ]
}

fn past(links: &Links, now: DateTime<Utc>, attempt: &PastAttempt) -> Vec<Markup> {
    let lasted = (attempt.ended_at - attempt.started_at).num_seconds();
    // Negative if the database's clock was set back meanwhile.
    let lasted = time::length(u64::try_from(lasted).unwrap_or(0));
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
                @if let Some(seconds) = attempt.interval_seconds { "backs off for " (interval::show(seconds)) " · " }
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

fn operator_action(links: &Links, now: DateTime<Utc>, action: &Action) -> Vec<Markup> {
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
