//! Processes page: each process with what limits or stops it, and what it has to do.

use super::{Page, Section, stops};
use crate::app::App;
use crate::component::badge::{Tone, badge};
use crate::component::{empty, id, number, table::table, time};
use crate::error::HttpError;
use crate::link::{Links, with_query};
use crate::moment::Moment;
use crate::request::PageRequest;
use crate::sample::Sample;
use bmdb_model::overview::{self, OldestDue};
use bmdb_model::process_control::{self, LimitState, PartitionUse, ProcessControl, SlotUse};
use maud::{Markup, html};

/// How many partitions of a limit a cell shows, the fullest first.
const SHOWN: usize = 3;

pub(crate) async fn show(app: App, request: PageRequest) -> Result<Page, HttpError> {
    request.parameters(&[])?;
    let read = app.read(async |conn| {
        Ok((
            process_control::all(conn).await?,
            overview::oldest_due(conn).await?,
        ))
    });
    let (moment, (processes, oldest)) = read.await?;
    let latest = app.sampler.as_ref().map(|sampler| sampler.latest());
    let sample = latest.as_ref().and_then(|latest| latest.sample.as_deref());
    let body = html! {
        @if processes.is_empty() {
            (empty::teach(
                "No processes are defined.",
                "This page lists what is done to machines, and what limits it. To define the processes of \
                 bmdb:",
                "bmdb migrate up",
            ))
        } @else { (rows(&app.links, moment, &processes, &oldest, sample)) }
        @if let Some(sample) = sample {
            p.muted.counted { "Due and failing were counted " (time::length(sample.age().as_secs())) " ago." }
        }
    };
    Ok(Page::new("Processes", Section::Processes, body).read_at(moment))
}

fn rows(
    links: &Links,
    moment: Moment,
    processes: &[ProcessControl],
    oldest: &[OldestDue],
    sample: Option<&Sample>,
) -> Markup {
    let heads = [
        "Process",
        "State",
        "Running",
        "Starts",
        "Breaker",
        "Due",
        "Failing",
        "Due the longest",
    ];
    table("Processes", &heads, processes, |control| {
        let process = &control.process;
        let counts = sample.and_then(|sample| {
            let counts = sample
                .processes
                .iter()
                .find(|counts| counts.process == *process)?;
            Some((sample, counts))
        });
        let claimed = with_query(&links.work(), &[("process", process.as_str())]);
        let oldest = oldest.iter().find(|due| due.process == *process);
        vec![
            html! { a href=(links.process(process)) { (process) } },
            stops::state(control),
            html! {
                a href=(claimed) { (number::show(number::grouped(control.claimed))) }
                (used(&control.limits, |partition| partition.running))
            },
            used(&control.limits, |partition| partition.starts),
            breaker(control),
            html! {
                @if let Some((sample, counts)) = counts {
                    @if let Some(due) = sample.due(counts) { (number::show(number::grouped(due))) }
                    (also(sample.limited(counts), "limited"))
                    (also(sample.paused(counts), "paused"))
                }
            },
            html! { @if let Some((_, counts)) = counts { (number::show(number::grouped(counts.failing))) } },
            html! {
                @if let Some(due) = oldest {
                    (id::machine_of(links, due.machine, due.provider.as_ref())) " "
                    (time::short(due.since, moment.at))
                }
            },
        ]
    })
}

fn also(count: Option<i64>, state: &str) -> Markup {
    html! {
        @if let Some(count @ 1..) = count { " " (badge(Tone::Waiting, &format!("{count} {state}"))) }
    }
}

/// The fullest partitions of each limit.
fn used(limits: &[LimitState], of: impl Fn(&PartitionUse) -> Option<SlotUse>) -> Markup {
    html! {
        @for limit in limits {
            @let partitions = fullest(limit, &of);
            @for (partition, used) in partitions.iter().take(SHOWN) {
                div.line {
                    (number::show(used)) " " span.muted { (stops::partition(limit.limit.per, &partition.name)) }
                    @if used.is_full() { " " (badge(Tone::Waiting, "full")) }
                }
            }
            @if partitions.len() > SHOWN {
                div.line.muted { "and " (partitions.len() - SHOWN) " more" }
            }
        }
    }
}

fn fullest(
    limit: &LimitState,
    of: impl Fn(&PartitionUse) -> Option<SlotUse>,
) -> Vec<(&PartitionUse, SlotUse)> {
    let used = limit.partitions.iter();
    let mut used: Vec<_> = used
        .filter_map(|partition| Some((partition, of(partition)?)))
        .collect();
    used.sort_by_key(|(_, used)| used.maximum - used.taken);
    used
}

fn breaker(control: &ProcessControl) -> Markup {
    html! {
        @if let Some((state, need)) = stops::nearest(&control.breakers) {
            (need.due.unwrap_or(0)) " of " (need.population.unwrap_or(0))
            @if let Some(threshold) = need.threshold {
                span.muted { ", trips above " (threshold) ", " (stops::partition(state.breaker.per, &need.name)) }
            }
        } @else if !control.breakers.is_empty() { span.muted { "nothing counted yet" } }
    }
}
