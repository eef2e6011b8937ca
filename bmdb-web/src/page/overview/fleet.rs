//! Counts of the whole fleet, from the latest sample.

use crate::component::{badge::Tone, card::card, number, table::table, time};
use crate::link::{Links, with_query};
use crate::sample::Sample;
use crate::sampler::Latest;
use maud::{Markup, html};

pub(super) fn show(links: &Links, latest: &Latest) -> Markup {
    html! {
        @if let Some(sample) = &latest.sample {
            section {
                h2 { "Fleet" }
                (cards(links, sample))
                @if !sample.processes.is_empty() { (processes(links, sample)) }
                p.muted { "Counted " (time::length(sample.age().as_secs())) " ago." }
            }
        }
        @if let Some(error) = &latest.error {
            div.notice.bad { p.lead { "The latest count of the fleet failed." } p { (error) } }
        }
    }
}

fn cards(links: &Links, sample: &Sample) -> Markup {
    let fleet = &sample.fleet;
    let provided = format!("{} from a provider", fleet.provided);
    let heartbeating = format!("{} send heartbeats", fleet.heartbeating);
    let pending = format!("{} installations pending", fleet.installation_pending);
    html! {
        ul.cards {
            (card("Machines", fleet.machines, Some(links.machines()), Tone::Quiet, &provided))
            (card("Agents started", fleet.agent_started, None, Tone::Quiet, &heartbeating))
            (card("Installed", fleet.installed, None, Tone::Quiet, &pending))
            (card("On hold", fleet.on_hold, None, Tone::Quiet, "no process claims them"))
        }
    }
}

fn processes(links: &Links, sample: &Sample) -> Markup {
    let heads = [
        "Process",
        "Due",
        "Limited",
        "Paused",
        "Claimed",
        "Backing off",
        "Failing",
        "Eligible",
    ];
    table("Processes", &heads, &sample.processes, |counts| {
        let process = counts.process.as_str();
        let listed = |path: String, count: i64| {
            let address = with_query(&path, &[("process", process)]);
            html! { a href=(address) { (number::show(count)) } }
        };
        vec![
            html! { a href=(links.process(&counts.process)) { (process) } },
            known(sample.due(counts)),
            known(sample.limited(counts)),
            known(sample.paused(counts)),
            listed(links.work(), counts.claimed),
            listed(links.backoffs(), counts.backing_off),
            number::show(counts.failing),
            number::show(counts.eligible),
        ]
    })
}

fn known(count: Option<i64>) -> Markup {
    html! { @if let Some(count) = count { (number::show(count)) } }
}
