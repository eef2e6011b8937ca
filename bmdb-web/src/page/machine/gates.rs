//! The three gates of each process on a machine: open or shut, why, and what opens them.

use crate::component::badge::{Tone, badge};
use crate::component::{empty, id, interval, tag, time};
use crate::link::Links;
use bmdb_model::MachineId;
use bmdb_model::gates::{CurrentClaim, Gates, View, When};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

pub(super) fn show(links: &Links, now: DateTime<Utc>, machine: MachineId, all: &[Gates]) -> Markup {
    if all.is_empty() {
        return empty::teach(
            "No processes.",
            "Each process that is defined, or was ever at work on this machine, has three gates: the \
             tags call for it, its time has come, and nobody holds it.",
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
                    }
                    @if gates.is_stale {
                        p.notice.bad {
                            "The item says something else than the tags do. Plan the fleet anew: "
                            code { "bmdb replan" }
                        }
                    }
                    p.muted { "More: " code { "bmdb why " (machine) " " (gates.process) } }
                }
            }
        }
    }
}

/// The same states as in lists, and none for what was never asked for.
fn state(gates: &Gates) -> Markup {
    let backs_off = gates.ready.backoff.as_ref().is_some_and(|b| b.is_in_force);
    match &gates.claim {
        Some(holder) if holder.process == gates.process => badge(Tone::Busy, "claimed"),
        _ if backs_off => badge(Tone::Waiting, "backing off"),
        _ if !gates.eligible.is_open => badge(Tone::Quiet, "not eligible"),
        Some(_) => badge(Tone::Waiting, "lane taken"),
        None if gates.ready.is_open => badge(Tone::Good, "due"),
        None => badge(Tone::Quiet, "waiting"),
    }
}

fn gate(is_open: bool) -> Markup {
    if is_open {
        badge(Tone::Good, "open")
    } else {
        badge(Tone::Waiting, "shut")
    }
}

fn eligible(gates: &Gates) -> Markup {
    let eligible = &gates.eligible;
    html! {
        strong { " Eligible. " }
        @if eligible.hold.is_some() { "The machine is on hold. " }
        @match &eligible.view {
            View::None => "No workflow: it is worked on through explicit retrievals only.",
            View::Lists(_) => "The tags call for it.",
            View::DoesNotList => "The tags do not call for it.",
            View::Unusable(reason) => { "Its workflow cannot be used: " span.cause { (reason) } }
        }
        @if !eligible.tags.is_empty() {
            " " span.muted {
                "It looks at "
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
            (false, When::Now) => "Nothing to wait for.",
            (true, When::Now) => "At once.",
            (_, When::At(at)) => { "From " (time::relative(at, now)) "." }
        }
        @if let Some(backoff) = ready.backoff.as_ref().filter(|backoff| backoff.is_in_force) {
            " It backs off"
            @if let Some(seconds) = backoff.last_interval_seconds { " for " (interval::show(seconds)) }
            @if backoff.failures > 0 { ", having failed " (times(backoff.failures)) " in a row" }
            @if backoff.losses > 0 { ", having been lost " (times(backoff.losses)) " in a row" }
            "."
            @if let Some(cause) = &backoff.cause { " " span.cause { "Cause: " (cause) } }
        }
    }
}

/// How often, in words.
pub(super) fn times(count: i64) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

fn free(links: &Links, gates: &Gates, now: DateTime<Utc>) -> Markup {
    html! {
        strong { " Free. " }
        @match &gates.claim {
            None => { "Nobody holds it, nor another process of lane " (gates.lane) "." }
            Some(holder) => (held(links, gates, holder, now)),
        }
    }
}

fn held(links: &Links, gates: &Gates, holder: &CurrentClaim, now: DateTime<Utc>) -> Markup {
    html! {
        @if holder.process == gates.process { "Held" }
        @else { "Its lane " (gates.lane) " is held for " (holder.process) }
        " by session " (id::session(links, holder.session)) " (" span.cause { (holder.component) } ")"
        " since " (time::relative(holder.started_at, now)) ", fence " span.number { (holder.fence) } "."
        @if holder.is_live {
            " " span.muted { "Its lease ends " (time::short(holder.deadline, now)) " unless it beats." }
        } @else {
            " Its lease has expired; the janitor frees it."
        }
    }
}
