//! Filter forms: they change the address of a list.

use bmdb_model::ProcessDef;
use maud::{Markup, html};

/// A form with these fields; `all` is the address of the list without filters.
pub(crate) fn form(all: &str, is_filtered: bool, fields: &[Markup]) -> Markup {
    html! {
        form.filters method="get" action=(all) role="search" {
            @for field in fields { (field) }
            div.actions {
                button type="submit" { "Filter" }
                @if is_filtered { a.button href=(all) { "Clear" } }
            }
        }
    }
}

pub(crate) fn text(name: &str, label: &str, value: &str, hint: &str) -> Markup {
    html! {
        label {
            span { (label) }
            input type="search" name=(name) value=(value) placeholder=(hint)
                autocomplete="off" spellcheck="false";
        }
    }
}

/// A choice between values, each with its label, or any of them.
pub(crate) fn choice<'a>(
    name: &str,
    label: &str,
    chosen: &str,
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Markup {
    let values: Vec<_> = values.into_iter().collect();
    // A chosen value stays visible even if the list does not have it.
    let is_listed = chosen.is_empty() || values.iter().any(|(value, _)| *value == chosen);
    html! {
        label {
            span { (label) }
            select name=(name) {
                option value="" selected[chosen.is_empty()] { "any" }
                @for (value, label) in &values {
                    option value=(value) selected[*value == chosen] { (label) }
                }
                @if !is_listed { option value=(chosen) selected { (chosen) } }
            }
        }
    }
}

pub(crate) fn process(chosen: &str, defined: &[ProcessDef]) -> Markup {
    let names = defined.iter().map(|defined| defined.process.as_str());
    choice("process", "Process", chosen, names.map(|name| (name, name)))
}
