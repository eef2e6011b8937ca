//! The fleet in numbers, as they were counted last.

use crate::app::App;
use crate::component::table::Table;
use crate::component::{cause, tag, time};
use crate::link::with_query;
use crate::sample::{Latest, Sample};
use bmdb_model::fleet::ItemState;
use maud::{Markup, html};

pub(super) fn show(app: &App) -> Markup {
    let Some(Latest { sample, error, .. }) = app.counted() else {
        return html! {};
    };
    html! {
        @if let Some(sample) = &sample {
            (cards(app, sample))
            @if !sample.processes.is_empty() { (processes(app, sample)) }
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
    let cards = [
        ("Machines", fleet.machines),
        ("Heartbeating", fleet.heartbeating),
        ("Installed", fleet.installed),
        ("On hold", fleet.on_hold),
    ];
    html! {
        ul.cards {
            @for (label, count) in cards {
                li.card { span.label { (label) } span.value { (grouped(count)) } }
            }
        }
        // One below the other, as cards are on a phone, they would hide the list.
        p {
            "Tags: "
            span.badges {
                @for (table, machines) in &sample.tags {
                    @let link = with_query(&app.links().machines(), &[("tag", table)]);
                    a.badge.tag href=(link) title=(table) { (tag::name(table)) " " (grouped(*machines)) }
                }
            }
        }
        (uncounted(sample.uncounted_tags.iter().map(|(table, why)| (tag::name(table), why.as_str()))))
    }
}

/// What could not be counted, and why.
fn uncounted<'a>(names: impl Iterator<Item = (&'a str, &'a str)>) -> Markup {
    html! {
        @for (name, why) in names { p.muted { "Not counted: " (name) ", for " (cause::cause(why)) } }
    }
}

fn processes(app: &App, sample: &Sample) -> Markup {
    let heads = [
        "Process",
        "Eligible",
        "Due",
        "Waiting",
        "Backing off",
        "Held",
        "Stuck",
        "Not eligible",
        "Poisoned",
    ];
    let mut table = Table::new("Processes of the whole fleet", &heads);
    for counts in &sample.processes {
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
            sample.due(counts).map_or_else(
                || html! { span.muted title="Its workflow could not be counted, and only a claim finds out by the heartbeats." { "not counted" } },
                |due| listed(ItemState::Due, due),
            ),
            listed(ItemState::Waiting, counts.waiting),
            listed(ItemState::BackingOff, counts.backing_off),
            listed(ItemState::Claimed, counts.claimed),
            number(counts.stuck),
            listed(ItemState::NotEligible, counts.not_eligible),
            number(counts.poisoned),
        ]);
    }
    html! {
        (table.render())
        (uncounted(sample.uncounted.iter().map(|(process, why)| (process.as_str(), why.as_str()))))
        p.muted.counted {
            "Due are machines that could be claimed at that moment. The list of what is due has those too \
             whose lane is taken and, of a process whose times heartbeats move, those that only seem due."
        }
    }
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
