//! Problems: what fails and why, what rests, what is stopped, and machines that are stuck or poisoned.

use crate::component::badge::{Tone, badge};
use crate::component::{cause, id, number, table::table, time};
use crate::link::Links;
use crate::moment::Moment;
use bmdb_model::Page as Listed;
use bmdb_model::plan::PlanFailure;
use bmdb_model::process_control::{Pause, PauseSource};
use bmdb_model::work::{Causes, ClaimedKey, ClaimedWork, PoisonedKey, PoisonedWork, RestingWork};
use chrono::TimeDelta;
use maud::{Markup, html};

pub(super) fn stuck(
    links: &Links,
    moment: Moment,
    most: i64,
    stuck: &Listed<ClaimedWork, ClaimedKey>,
) -> Markup {
    let heads = ["Machine", "Process", "Claimed since", "By"];
    let (shown, is_more) = first(stuck, most);
    html! {
        @if shown.is_empty() {
            p.muted { "No machine has been claimed for more than an hour." }
        } @else {
            (table("Machines that are stuck", &heads, shown, |work| vec![
                id::machine(links, work.machine),
                html! { (work.process) },
                time::short(work.started_at, moment.at),
                html! { (id::session(links, work.session)) " " (work.component) },
            ]))
            @if is_more { p { a href=(links.work()) { "All claimed machines, the longest first" } } }
        }
    }
}

pub(super) fn poisoned(
    links: &Links,
    most: i64,
    poisoned: &Listed<PoisonedWork, PoisonedKey>,
) -> Markup {
    let heads = ["Machine", "Process", "Failed", "Expired", "Cause"];
    let (shown, is_more) = first(poisoned, most);
    html! {
        @if shown.is_empty() {
            p.muted {
                "No process has failed ten times in a row on a machine, and no attempt has expired there \
                 three times in a row."
            }
        } @else {
            (table("Poisoned machines", &heads, shown, |work| vec![
                id::machine(links, work.machine),
                html! { (work.process) @if work.session.is_some() { " " (badge(Tone::Busy, "claimed")) } },
                number::show(work.failures),
                number::show(work.losses),
                cause::optional(work.cause.as_deref()),
            ]))
            @if is_more { p.muted { "The first " (most) " in the order of their ids are shown." } }
        }
    }
}

/// Why processes fail now.
pub(in crate::page) fn causes(links: &Links, moment: Moment, causes: &Causes) -> Markup {
    let heads = ["Machines", "Process", "Cause", "Failed last"];
    html! {
        @if causes.rows.is_empty() {
            p.muted { "No machine needs a process whose last attempt there failed." }
        } @else {
            (table("Why processes fail now", &heads, &causes.rows, |cause| vec![
                number::show(number::grouped(cause.machines)),
                html! {
                    a href=(links.process(&cause.process)) { (cause.process) }
                    @if let Some(provider) = &cause.provider { " " span.muted { (provider) } }
                },
                cause::optional(cause.cause.as_deref()),
                html! {
                    (id::machine(links, cause.machine)) " "
                    @if let Some(at) = cause.failed_at { (time::short(at, moment.at)) }
                },
            ]))
            @if causes.is_more {
                p.muted { "There are more: " code { "bmdb history --causes" } }
            }
            @if !causes.is_all {
                p.muted { "There are so many backoffs that only those that end last are counted." }
            }
        }
    }
}

/// What backs off although its attempts succeed.
pub(super) fn resting(links: &Links, moment: Moment, most: i64, resting: &[RestingWork]) -> Markup {
    let heads = ["Machine", "Process", "Finished", "Rests until"];
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    html! {
        @if resting.is_empty() {
            p.muted {
                "No process succeeds on a machine and leaves it due, or is needed there again and again."
            }
        } @else {
            (table("Machines that rest", &heads, resting.iter().take(most), |work| vec![
                id::machine_of(links, work.machine, work.provider.as_ref()),
                html! { (work.process) },
                html! {
                    @if work.unproductive > 0 {
                        (number::times(work.unproductive)) " and still due "
                        (badge(Tone::Bad, "unproductive"))
                    } @else {
                        (number::times(work.flapping.saturating_add(1))) " in a row "
                        (badge(Tone::Bad, "flapping"))
                    }
                },
                time::short(work.until, moment.at),
            ]))
            @if resting.len() > most { p.muted { "The first " (most) " in the order of their ids are shown." } }
        }
    }
}

/// A pause that has lasted so long may have been forgotten.
const LONG: TimeDelta = TimeDelta::hours(24);

/// Open breakers, and pauses that have lasted for long. The banner of the page has them all.
pub(super) fn stopped(links: &Links, moment: Moment, pauses: &[Pause]) -> Markup {
    let stopped: Vec<&Pause> = pauses
        .iter()
        .filter(|p| p.source == PauseSource::Breaker || moment.at - p.since >= LONG)
        .collect();
    let heads = ["Process", "Stopped since", "By", "Reason", "Until"];
    html! {
        @if !stopped.is_empty() {
            (table("Open breakers and long pauses", &heads, &stopped, |pause| vec![
                html! {
                    a href=(links.process(&pause.process)) { (pause.process) }
                    @if let Some(provider) = &pause.provider { " " span.muted { (provider) } }
                },
                time::short(pause.since, moment.at),
                html! {
                    @if pause.source == PauseSource::Breaker { (badge(Tone::Bad, "breaker")) }
                    @else { span.cause { (pause.paused_by) } }
                },
                cause::cause(&pause.reason),
                html! {
                    @match pause.until {
                        Some(until) => (time::short(until, moment.at)),
                        None => "somebody resumes it",
                    }
                },
            ]))
        }
    }
}

/// Processes whose workflow fails: their machines stay as they were planned.
pub(in crate::page) fn not_plannable(
    links: &Links,
    moment: Moment,
    failures: &[PlanFailure],
) -> Markup {
    html! {
        @for failure in failures {
            @let broken = &failure.broken;
            div.notice.bad {
                p.lead { a href=(links.process(&broken.process)) { (broken.process) } " is not plannable" }
                p {
                    "Since " (time::relative(failure.since, moment.at)) " its workflow "
                    code { (broken.workflow) } " fails for machine " (id::machine(links, broken.machine)) ": "
                    (cause::cause(&broken.error))
                }
            }
        }
    }
}

/// The first rows, and whether there are more.
fn first<T, K>(list: &Listed<T, K>, most: i64) -> (&[T], bool) {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let shown = &list.rows[..list.rows.len().min(most)];
    (shown, list.rows.len() > most || list.next.is_some())
}
