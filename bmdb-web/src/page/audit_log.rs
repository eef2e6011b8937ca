//! Audit log: operator actions, each with who did it and why.

use crate::component::{cause, id, table::table, time};
use crate::link::Links;
use crate::moment::Moment;
use bmdb_model::operator::Action;
use maud::{Markup, html};

pub(super) fn show(links: &Links, moment: Moment, caption: &str, actions: &[Action]) -> Markup {
    let heads = ["When", "Operator", "Action", "Target", "Reason"];
    table(caption, &heads, actions, |action| {
        vec![
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
            cause::optional(action.reason.as_deref()),
        ]
    })
}

/// `HoldMachine` as `hold machine`. Also splits verbs that a later release has written.
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
    fn verbs_are_split_into_words() {
        assert_eq!(words("HoldMachine"), "hold machine");
        assert_eq!(words("x"), "x");
    }
}
