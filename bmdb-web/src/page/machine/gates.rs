//! The gates of each process on the machine: open or closed, why, and what opens them.

use crate::component::badge::{Tone, badge};
use crate::component::{empty, id, interval, number, state, tag, time};
use crate::link::Links;
use bmdb_core::operator::explain;
use bmdb_model::MachineId;
use bmdb_model::fleet::ItemState;
use bmdb_model::gates::{CurrentClaim, Gates, View, When};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

pub(super) fn show(links: &Links, now: DateTime<Utc>, machine: MachineId, all: &[Gates]) -> Markup {
    if all.is_empty() {
        return empty::teach(
            "No processes are defined.",
            "Each process has four gates on this machine. They open when the tags make the machine \
             eligible, when its time has come, when no process of the same lane has claimed it, and when \
             the process is neither paused nor at its limit. To define the processes of bmdb:",
            "bmdb migrate up",
        );
    }
    html! {
        div.panels {
            @for gates in all {
                section.panel.gates {
                    h3 { (gates.process) " " (state(gates)) }
                    ol.gates {
                        li { (gate(gates.eligible.is_open)) (eligible(gates)) }
                        li { (gate(gates.ready.is_open)) (ready(gates, now)) }
                        li { (gate(gates.claim.is_none())) (free(links, gates, now)) }
                        li { (gate(gates.stops.is_empty())) (allowed(links, gates)) }
                    }
                    @if gates.is_stale {
                        p.notice.bad {
                            "The work item does not match the tags. To replan it: " code { "bmdb replan" }
                        }
                    }
                    p.muted { "To see what to do: " code { "bmdb why " (machine) " " (gates.process) } }
                }
            }
        }
    }
}

/// The states of the list of machines, a hold, and one for a lane that another process has claimed.
fn state(gates: &Gates) -> Markup {
    match gates.state() {
        ItemState::NotEligible if gates.eligible.hold.is_some() => badge(Tone::Bad, "on hold"),
        ItemState::Due | ItemState::Waiting if gates.claim.is_some() => {
            badge(Tone::Waiting, "lane claimed")
        }
        state => state::item(state),
    }
}

fn gate(is_open: bool) -> Markup {
    if is_open {
        badge(Tone::Good, "open")
    } else {
        badge(Tone::Waiting, "closed")
    }
}

fn eligible(gates: &Gates) -> Markup {
    let eligible = &gates.eligible;
    html! {
        strong { " Eligible. " }
        @if eligible.hold.is_some() { "The machine is on hold. " }
        @match &eligible.view {
            View::None => "The process has no workflow; only explicit retrievals claim the machine.",
            View::Lists(_) => "The tags make the machine eligible.",
            View::DoesNotList => "The tags do not make the machine eligible.",
            View::Unusable(reason) => { "The workflow view cannot be read: " span.cause { (reason) } }
        }
        @if !eligible.tags.is_empty() {
            " " span.muted {
                "The workflow reads "
                @for (nth, state) in eligible.tags.iter().enumerate() {
                    @if nth > 0 { ", " }
                    (tag::name(&state.table)) @if state.is_set { " (set)" } @else { " (not set)" }
                }
                "."
            }
        }
    }
}

fn ready(gates: &Gates, now: DateTime<Utc>) -> Markup {
    let ready = &gates.ready;
    html! {
        strong { " Ready. " }
        @match (gates.eligible.is_open, ready.opens) {
            (_, When::Never) => "Never, unless something changes.",
            (false, When::Now) => "There is no time to wait for.",
            (true, When::Now) => "Now.",
            (_, When::At(at)) => { "From " (time::relative(at, now)) "." }
        }
        @if let Some(backoff) = ready.backoff.as_ref().filter(|backoff| backoff.is_in_force) {
            " The process is backing off"
            @if let Some(seconds) = backoff.last_interval_seconds { " for " (interval::show(seconds)) }
            @if backoff.failures > 0 { "; it has failed " (number::times(backoff.failures)) " in a row" }
            @if backoff.losses > 0 { "; its session has expired " (number::times(backoff.losses)) " in a row" }
            "."
            @if let Some(cause) = &backoff.cause { " " span.cause { "Cause: " (cause) } }
        }
    }
}

fn free(links: &Links, gates: &Gates, now: DateTime<Utc>) -> Markup {
    html! {
        strong { " Free. " }
        @match &gates.claim {
            None => { "No process of lane " (gates.lane) " has claimed the machine." }
            Some(holder) => (claimed(links, gates, holder, now)),
        }
    }
}

fn allowed(links: &Links, gates: &Gates) -> Markup {
    html! {
        strong { " Allowed. " }
        @for sentence in explain::explain(gates).allowed.sentences { span.cause { (sentence) } " " }
        @if !gates.stops.is_empty() { a href=(links.process(&gates.process)) { "The process" } }
    }
}

fn claimed(links: &Links, gates: &Gates, holder: &CurrentClaim, now: DateTime<Utc>) -> Markup {
    html! {
        @if holder.process == gates.process { "Claimed" }
        @else { "Its lane " (gates.lane) " is claimed for " (holder.process) }
        " by session " (id::session(links, holder.session)) " (" span.cause { (holder.component) } ")"
        " since " (time::relative(holder.started_at, now)) ", fence " (number::show(holder.fence)) "."
        @if holder.is_overlong {
            " The lease ends later than it can (" (time::short(holder.deadline, now))
            "), because the database's clock was set back; a janitor ends it unless a heartbeat arrives."
        } @else if holder.is_live {
            " " span.muted { "The lease ends " (time::short(holder.deadline, now)) " without a heartbeat." }
        } @else {
            " The lease has expired; a janitor will free the machine."
        }
    }
}
