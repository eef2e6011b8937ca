//! Going through long lists by key: there is a first page and a next one, and no count.

use maud::{Markup, html};

/// `first` is the address of the first page, unless this is it; `next` that of the next one, if there
/// is one, with its name.
pub(crate) fn pager(first: Option<&str>, next: Option<(&str, &str)>) -> Markup {
    html! {
        @if first.is_some() || next.is_some() {
            nav.pager aria-label="Pages of this list" {
                @if let Some(first) = first { a.button href=(first) rel="first" { "First page" } }
                @if let Some((next, name)) = next { a.button href=(next) rel="next" { (name) } }
            }
        }
    }
}
