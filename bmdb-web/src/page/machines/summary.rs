//! The fleet in numbers, as they were counted last.

use crate::app::App;
use crate::component::table::Table;
use crate::component::time;
use crate::link::with_query;
use crate::sample::{Latest, Sample};
use bmdb_model::counts::ProcessCounts;
use bmdb_model::fleet::ItemState;
use maud::{Markup, html};

pub(super) fn show(app: &App) -> Markup {
    let Some(Latest { sample, error, .. }) = app.counted() else {
        return html! {};
    };
    html! {
        @if let Some(sample) = &sample {
            (cards(app, sample))
            @if !sample.processes.is_empty() { (processes(app, &sample.processes)) }
            p.muted.counted { "Counted " (time::length(sample.age().as_secs())) " ago." }
        } @else if error.is_none() {
            p.muted.counted { "The fleet is being counted for the first time." }
        }
        @if let Some(error) = error {
            p.notice.bad role="status" { "The fleet could not be counted anew: " (error) }
        }
    }
}

fn cards(app: &App, sample: &Sample) -> Markup {
    let fleet = &sample.fleet;
    let tagged = |tag| with_query(&app.links().machines(), &[("tag", tag)]);
    let cards = [
        ("Machines", fleet.machines, None),
        ("Provided", fleet.provided, Some(tagged("machine_provided"))),
        (
            "Agent started",
            fleet.agent_started,
            Some(tagged("machine_agent_started")),
        ),
        (
            "Heartbeating",
            fleet.heartbeating,
            Some(tagged("machine_agent_heartbeat")),
        ),
        ("Installed", fleet.installed, None),
        ("On hold", fleet.on_hold, Some(tagged("machine_hold"))),
    ];
    html! {
        ul.cards {
            @for (label, count, link) in cards {
                li.card {
                    span.label {
                        @if let Some(link) = link { a href=(link) { (label) } } @else { (label) }
                    }
                    span.value { (grouped(count)) }
                }
            }
        }
    }
}

fn processes(app: &App, processes: &[ProcessCounts]) -> Markup {
    let heads = [
        "Process",
        "Eligible",
        "Due",
        "Held",
        "Stuck",
        "Backing off",
        "Poisoned",
    ];
    let mut table = Table::new("Processes of the whole fleet", &heads);
    for counts in processes {
        let name = counts.process.as_str();
        let machines = app.links().machines();
        let listed = |state: ItemState, count: i64| {
            let link = with_query(&machines, &[("process", name), ("state", state.as_str())]);
            html! { a.number href=(link) { (grouped(count)) } }
        };
        let number = |count: i64| html! { span.number { (grouped(count)) } };
        table.row(vec![
            html! { (name) },
            number(counts.eligible),
            counts.due.map_or_else(
                || html! { span.muted title="Only a claim finds out, by the heartbeats." { "not counted" } },
                |due| listed(ItemState::Due, due),
            ),
            listed(ItemState::Held, counts.held),
            number(counts.stuck),
            listed(ItemState::BackingOff, counts.backing_off),
            number(counts.poisoned),
        ]);
    }
    table.render()
}

/// With a thin space between thousands.
fn grouped(count: i64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            grouped.push('\u{202F}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    #[test]
    fn large_numbers_can_be_read() {
        for (count, expected) in [
            (0, "0"),
            (999, "999"),
            (1_234_567, "1\u{202F}234\u{202F}567"),
        ] {
            assert_eq!(super::grouped(count), expected);
        }
    }
}
