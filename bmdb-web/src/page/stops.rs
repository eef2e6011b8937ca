//! Stops: what keeps processes from starting anywhere, in words; and the banner of every page.

use crate::component::badge::{Tone, badge};
use crate::component::{cause, time};
use crate::link::Links;
use bmdb_model::process_control::{
    BreakerState, LimitState, PartitionNeed, Pause, PauseSource, ProcessControl,
};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

/// How many pauses a banner names.
const NAMED: usize = 5;

/// Loud while a breaker is open, quiet for other pauses, nothing without any.
pub(super) fn banner(links: &Links, pauses: &[Pause]) -> Markup {
    let (open, others): (Vec<&Pause>, Vec<&Pause>) = pauses
        .iter()
        .partition(|pause| pause.source == PauseSource::Breaker);
    html! {
        @if !open.is_empty() {
            div.notice.bad.banner role="alert" {
                @for pause in open.iter().take(NAMED) {
                    p.lead {
                        "Breaker open: " (stopped(links, pause)) " is stopped. " (cause::cause(&pause.reason))
                    }
                }
                (more(links, open.len()))
            }
        }
        @if !others.is_empty() {
            div.notice.banner role="status" {
                @for pause in others.iter().take(NAMED) {
                    p {
                        (badge(Tone::Waiting, "paused")) " " (stopped(links, pause)) " by "
                        span.cause { (pause.paused_by) } ": " (cause::cause(&pause.reason))
                    }
                }
                (more(links, others.len()))
            }
        }
    }
}

fn stopped(links: &Links, pause: &Pause) -> Markup {
    html! {
        a href=(links.process(&pause.process)) { (pause.process) }
        @if let Some(provider) = &pause.provider { " for " (provider) }
    }
}

fn more(links: &Links, pauses: usize) -> Markup {
    html! {
        @if pauses > NAMED { p { a href=(links.processes()) { "All " (pauses) " pauses" } } }
    }
}

/// Whose machines, since when, until when, by whom and why.
pub(super) fn pause(now: DateTime<Utc>, pause: &Pause) -> Markup {
    let is_open = pause.source == PauseSource::Breaker;
    let provider = match &pause.provider {
        Some(provider) => format!(" --provider {provider}"),
        None => String::new(),
    };
    html! {
        div.notice.bad[is_open] {
            p.lead {
                @if is_open { "Breaker open" } @else { "Paused" }
                @if let Some(provider) = &pause.provider { " for " (provider) }
                ": " (cause::cause(&pause.reason))
            }
            p {
                "Since " (time::relative(pause.since, now))
                @if pause.source == PauseSource::Attempt { ", by an attempt of " } @else { ", by " }
                span.cause { (pause.paused_by) } ", until "
                @match pause.until {
                    Some(until) => (time::relative(until, now)),
                    None => "somebody resumes it",
                }
                "."
                @if pause.stop_running { " What runs is stopped and given back." }
            }
            @if is_open { p { "Find out why before you resume it. To resume:" } }
            @else { p { "To resume:" } }
            pre { code { "bmdb process resume " (pause.process) (provider) } }
        }
    }
}

/// The state of a process as a whole, in one badge.
pub(super) fn state(control: &ProcessControl) -> Markup {
    let providers = control
        .pauses
        .iter()
        .filter(|pause| pause.provider.is_some());
    let is_full = control.limits.iter().any(|limit| full(limit) > 0);
    match () {
        () if control.off_workflow.is_some() => badge(Tone::Quiet, "switched off"),
        () if control.is_tripped() => badge(Tone::Bad, "breaker open"),
        () if control.pauses.iter().any(|pause| pause.provider.is_none()) => {
            badge(Tone::Bad, "paused")
        }
        () if !control.pauses.is_empty() => badge(
            Tone::Waiting,
            &format!("paused for {}", count(providers.count(), "provider")),
        ),
        () if is_full => badge(Tone::Waiting, "limited"),
        () => badge(Tone::Good, "open"),
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// How many partitions have no room.
fn full(limit: &LimitState) -> usize {
    let is_full = |partition: &&bmdb_model::process_control::PartitionUse| {
        [partition.running, partition.starts]
            .into_iter()
            .flatten()
            .any(|used| used.is_full())
    };
    limit.partitions.iter().filter(is_full).count()
}

/// A partition's name for people. Without a name it is the whole process, or has no provider.
pub(super) fn partition(per: bmdb_model::process_control::Per, name: &str) -> Markup {
    use bmdb_model::process_control::Per;
    html! {
        @match (per, name) {
            (Per::Process, _) => "all machines",
            (_, "") => span.muted { "no provider" },
            _ => (name),
        }
    }
}

/// The partition of its breakers that is nearest to tripping.
pub(super) fn nearest(breakers: &[BreakerState]) -> Option<(&BreakerState, &PartitionNeed)> {
    let partitions = breakers.iter().flat_map(|state| {
        state
            .partitions
            .iter()
            .map(move |partition| (state, partition))
    });
    partitions
        .filter(|(_, partition)| partition.due.is_some())
        .max_by_key(|(_, partition)| {
            let (due, threshold) = (partition.due.unwrap_or(0), partition.threshold.unwrap_or(0));
            due.saturating_mul(1000) / threshold.max(0).saturating_add(1)
        })
}
