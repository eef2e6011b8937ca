//! Summary of the fleet: the counts of the latest sample.

use crate::app::App;
use crate::component::{cause, number, table::table, tag, time};
use crate::link::{Links, with_query};
use crate::sample::Sample;
use crate::sampler::Latest;
use bmdb_model::counts::ProcessCounts;
use bmdb_model::fleet::ItemState;
use maud::{Markup, html};

pub(super) fn show(app: &App) -> Markup {
    let Some(sampler) = &app.sampler else {
        return html! {};
    };
    let Latest { sample, error, .. } = sampler.latest();
    html! {
        @if let Some(sample) = &sample {
            (cards(app, sample))
            @if !sample.processes.is_empty() { (processes(&app.links, sample)) }
            p.muted.counted { "Counted " (time::length(sample.age().as_secs())) " ago." }
        } @else if error.is_none() {
            p.muted.counted { "The first count of the fleet is running." }
        }
        @if let Some(error) = error {
            p.notice.bad role="status" { "The latest count of the fleet failed: " (error) }
        }
    }
}

fn cards(app: &App, sample: &Sample) -> Markup {
    let fleet = &sample.fleet;
    let cards = [
        ("Machines", fleet.machines),
        ("Heartbeating", fleet.heartbeating),
        ("Installed", fleet.installed),
        ("On hold", fleet.on_hold),
    ];
    html! {
        ul.cards {
            @for (label, count) in cards {
                li.card { span.label { (label) } span.value { (number::grouped(count)) } }
            }
        }
        // No cards: on a phone they would push the list of machines off the screen.
        p {
            "Tags: "
            span.badges {
                @for (table, machines) in &sample.tags {
                    @let link = with_query(&app.links.machines(), &[("tag", table)]);
                    a.badge.tag href=(link) title=(table) {
                        (tag::name(table)) " " (number::grouped(*machines))
                    }
                }
            }
        }
        (not_counted(sample.uncounted_tags.iter().map(|(table, error)| (tag::name(table), error))))
    }
}

fn not_counted<'a>(names: impl Iterator<Item = (&'a str, &'a String)>) -> Markup {
    html! {
        @for (name, error) in names { p.muted { "Not counted: " (name) ": " (cause::cause(error)) } }
    }
}

fn processes(links: &Links, sample: &Sample) -> Markup {
    let heads = [
        "Process",
        "Eligible",
        "Due",
        "Limited",
        "Paused",
        "Waiting",
        "Backing off",
        "Failing",
        "Claimed",
        "Stuck",
        "Not eligible",
        "Resting",
        "Poisoned",
    ];
    let failed = sample.uncounted.iter();
    html! {
        (table("Processes of the fleet", &heads, &sample.processes, |counts| row(links, sample, counts)))
        (not_counted(failed.map(|(process, error)| (process.as_str(), error))))
        p.muted.counted {
            "Due counts the machines that could be claimed at that moment. The list of due machines also \
             has machines whose lane is claimed and, if heartbeats move the times of a process, machines \
             that may not be due yet."
        }
    }
}

fn row(links: &Links, sample: &Sample, counts: &ProcessCounts) -> Vec<Markup> {
    let process = counts.process.as_str();
    let listed = |state: ItemState, count: i64| {
        let parameters = [("process", process), ("state", state.as_str())];
        let link = with_query(&links.machines(), &parameters);
        html! { a.number href=(link) { (number::grouped(count)) } }
    };
    let count = |count: i64| number::show(number::grouped(count));
    let not_counted = "Its workflow could not be counted, and heartbeats move its times.";
    let of_queue = |state: ItemState, count: Option<i64>| {
        html! {
            @if let Some(count) = count { (listed(state, count)) }
            @else { span.muted title=(not_counted) { "not counted" } }
        }
    };
    vec![
        html! { a href=(links.process(&counts.process)) { (process) } },
        count(counts.eligible),
        of_queue(ItemState::Due, sample.due(counts)),
        of_queue(ItemState::Limited, sample.limited(counts)),
        of_queue(ItemState::Paused, sample.paused(counts)),
        listed(ItemState::Waiting, counts.waiting),
        listed(ItemState::BackingOff, counts.backing_off),
        count(counts.failing),
        listed(ItemState::Claimed, counts.claimed),
        count(counts.stuck),
        listed(ItemState::NotEligible, counts.not_eligible),
        count(counts.resting),
        count(counts.poisoned),
    ]
}
