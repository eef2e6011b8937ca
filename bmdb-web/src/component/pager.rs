//! Pager: walks a long list by key, without counting it.

use maud::{Markup, html};
use std::fmt::Display;

/// Links to the first page, unless this is it, and to the next page, if there is one. `address` makes the
/// address of the page after a key; an empty key is the first page.
pub(crate) fn pager(
    is_first: bool,
    next: Option<&impl Display>,
    next_label: &str,
    address: impl Fn(&str) -> String,
) -> Markup {
    html! {
        @if !is_first || next.is_some() {
            nav.pager aria-label="Pages of this list" {
                @if !is_first { a.button href=(address("")) rel="first" { "First page" } }
                @if let Some(key) = next {
                    a.button href=(address(&key.to_string())) rel="next" { (next_label) }
                }
            }
        }
    }
}
