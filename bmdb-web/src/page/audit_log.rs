//! What was done: by control loops, and by hand.

use crate::app::Moment;
use crate::component::{cause, id, state, table::Table, time};
use crate::link::Links;
use bmdb_model::history::PastAttempt;
use bmdb_model::operator::Action;
use maud::{Markup, html};

/// What people did, the last first.
pub(super) fn table(links: &Links, moment: Moment, caption: &str, actions: &[Action]) -> Markup {
    let mut table = Table::new(caption, &["When", "Who", "What", "To", "Why"]);
    for action in actions {
        table.row(vec![
            time::short(action.acted_at, moment.at),
            html! { (action.operator) },
            html! {
                (words(&action.verb))
                @for (name, value) in &action.details {
                    " " span.muted { (name) ": " (value) }
                }
            },
            html! {
                @if let Some(machine) = action.machine { (id::machine(links, machine)) }
                @if let Some(process) = &action.process { " " (process) }
                @if let Some(session) = action.session { " " (id::session(links, session)) }
            },
            html! { @if let Some(reason) = &action.reason { (cause::cause(reason)) } },
        ]);
    }
    table.render()
}

/// Attempts that have ended.
pub(super) fn attempts(
    links: &Links,
    moment: Moment,
    caption: &str,
    attempts: &[PastAttempt],
) -> Markup {
    let heads = ["Machine", "Process", "Outcome", "Ended", "Took", "Cause"];
    let mut table = Table::new(caption, &heads);
    for attempt in attempts {
        let took = attempt.ended_at - attempt.started_at;
        table.row(vec![
            id::machine(links, attempt.machine),
            html! { (attempt.process) },
            html! {
                (state::outcome(attempt.outcome))
                @if attempt.repeats > 0 {
                    " " span.muted { (attempt.repeats.saturating_add(1)) " times in a row" }
                }
            },
            time::short(attempt.ended_at, moment.at),
            html! { @if attempt.repeats == 0 { (super::work::milliseconds(took.num_milliseconds())) } },
            html! { @if let Some(cause) = &attempt.cause { (cause::cause(cause)) } },
        ]);
    }
    table.render()
}

/// `HoldMachine` as `hold machine`; a name from the database may be that of a later release.
pub(super) fn words(verb: &str) -> String {
    let mut words = String::new();
    for (at, letter) in verb.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_verb_is_shown_in_words() {
        assert_eq!(words("HoldMachine"), "hold machine");
        assert_eq!(words("x"), "x");
    }
}
