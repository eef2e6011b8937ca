//! Forms that narrow a list: they only change the address.

use maud::{Markup, html};

/// A form over these fields; `all` is the address without any.
pub(crate) fn form(action: &str, fields: &[Markup], all: Option<&str>) -> Markup {
    html! {
        form.filters method="get" action=(action) role="search" {
            @for field in fields { (field) }
            div.actions {
                button type="submit" { "Filter" }
                @if let Some(all) = all { a.button href=(all) { "Clear" } }
            }
        }
    }
}

/// A field for text.
pub(crate) fn text(name: &str, label: &str, value: &str, hint: &str) -> Markup {
    html! {
        label {
            span { (label) }
            input type="search" name=(name) value=(value) placeholder=(hint)
                autocomplete="off" spellcheck="false";
        }
    }
}

/// A choice among values, each with its words; none of them is a choice too.
pub(crate) fn choice(name: &str, label: &str, chosen: &str, values: &[(&str, &str)]) -> Markup {
    // What is in force stays visible, even if it is none of those that are known.
    let known = chosen.is_empty() || values.iter().any(|(value, _)| *value == chosen);
    html! {
        label {
            span { (label) }
            select name=(name) {
                option value="" selected[chosen.is_empty()] { "any" }
                @for (value, words) in values {
                    option value=(value) selected[*value == chosen] { (words) }
                }
                @if !known { option value=(chosen) selected { (chosen) } }
            }
        }
    }
}
