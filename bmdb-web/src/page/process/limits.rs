//! The limits of a process, and how much of them each partition uses.

use crate::component::badge::{Tone, badge};
use crate::component::{interval, number, table::table, time};
use crate::page::stops;
use bmdb_model::process_control::{LimitState, Per, ProcessControl, SlotUse};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

pub(super) fn show(now: DateTime<Utc>, control: &ProcessControl) -> Markup {
    if control.limits.is_empty() {
        return html! {
            p.muted {
                "No limit: any number of its machines may be claimed at once. To set one: "
                code { "bmdb process limit " (control.process) }
            }
        };
    }
    html! { @for limit in &control.limits { (one(now, limit)) } }
}

fn one(now: DateTime<Utc>, state: &LimitState) -> Markup {
    let limit = &state.limit;
    let heads = ["Machines", "Running", "Starts in the window", "Next slot"];
    html! {
        p {
            @match limit.per {
                Per::Provider => "For each provider: ",
                _ => "In all: ",
            }
            @if let Some(most) = limit.max_running { "at most " (most) " machines at once" }
            @if limit.max_running.is_some() && limit.max_starts.is_some() { ", and " }
            @if let Some(starts) = limit.max_starts {
                "at most " (starts.count) " starts within " (interval::show(starts.window_seconds))
            }
            "."
        }
        @if !state.partitions.is_empty() {
            (table("Use of the limit", &heads, &state.partitions, |partition| vec![
                stops::partition(limit.per, &partition.name),
                used(partition.running),
                used(partition.starts),
                html! {
                    @for opens_at in [partition.running, partition.starts].into_iter().flatten()
                        .filter(|used| used.is_full()).filter_map(|used| used.opens_at) {
                        (time::short(opens_at, now)) " "
                    }
                },
            ]))
        }
    }
}

fn used(used: Option<SlotUse>) -> Markup {
    html! {
        @if let Some(used) = used {
            (number::show(used)) @if used.is_full() { " " (badge(Tone::Waiting, "full")) }
        }
    }
}
