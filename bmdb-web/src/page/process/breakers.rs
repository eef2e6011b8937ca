//! The breakers of a process, and what they have seen of each partition.

use crate::component::badge::{Tone, badge};
use crate::component::{interval, number, table::table, time};
use crate::page::stops;
use bmdb_model::process_control::{Breaker, BreakerState, PartitionNeed, Per, ProcessControl};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

pub(super) fn show(now: DateTime<Utc>, control: &ProcessControl) -> Markup {
    if control.breakers.is_empty() {
        return html! {
            p.muted {
                "No breaker: nothing stops it when too many machines need it at once, or too many attempts \
                 fail. To set one: "
                code { "bmdb process breaker " (control.process) }
            }
        };
    }
    html! { @for breaker in &control.breakers { (one(now, control, breaker)) } }
}

fn one(now: DateTime<Utc>, control: &ProcessControl, state: &BreakerState) -> Markup {
    let breaker = &state.breaker;
    let heads = [
        "Machines",
        "State",
        "Need it",
        "Trips above",
        "Failures",
        "Counted",
    ];
    html! {
        (rule(breaker))
        @if !state.partitions.is_empty() {
            (table("What the breaker has seen", &heads, &state.partitions, |partition| vec![
                stops::partition(breaker.per, &partition.name),
                position(control, partition),
                html! {
                    @if let Some(due) = partition.due {
                        (number::show(due))
                        @if let Some(population) = partition.population { " of " (number::show(population)) }
                    }
                },
                html! { @if let Some(threshold) = partition.threshold { (number::show(threshold)) } },
                html! {
                    @if let Some(failures) = breaker.max_failures {
                        (number::show(format_args!("{}/{}", partition.failures, failures.count)))
                    }
                },
                html! { @if let Some(at) = partition.evaluated_at { (time::short(at, now)) } },
            ]))
        }
    }
}

fn rule(breaker: &Breaker) -> Markup {
    let due = match (breaker.max_due, breaker.max_due_percent) {
        (Some(most), Some(share)) => Some(format!(
            "more than {share} of the machines, and more than {most}, need it at once"
        )),
        (Some(most), None) => Some(format!("more than {most} machines need it at once")),
        (None, Some(share)) => Some(format!("more than {share} of the machines need it at once")),
        (None, None) => None,
    };
    html! {
        p {
            @match breaker.per {
                Per::Provider => "For each provider, it trips when ",
                _ => "It trips when ",
            }
            @if let Some(due) = &due { (due) }
            @if due.is_some() && breaker.max_failures.is_some() { ", or when " }
            @if let Some(failures) = breaker.max_failures {
                (failures.count) " attempts fail within " (interval::show(failures.window_seconds))
            }
            ". "
            @match breaker.resume_after_seconds {
                Some(seconds) => { "It resumes by itself after " (interval::show(seconds)) "." }
                None => "Then a person has to resume it.",
            }
        }
    }
}

fn position(control: &ProcessControl, partition: &PartitionNeed) -> Markup {
    match (control.is_tripped_for(partition), partition.disarmed) {
        (true, _) => badge(Tone::Bad, "open"),
        (false, true) => badge(Tone::Waiting, "resumed, not armed"),
        (false, false) => badge(Tone::Good, "closed"),
    }
}
