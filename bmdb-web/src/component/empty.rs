//! Empty states: what would be here, and which command brings it.

use maud::{Markup, html};

/// `shows` says what the place is for; `command` fills it.
pub(crate) fn teach(nothing: &str, shows: &str, command: &str) -> Markup {
    html! {
        div.empty {
            p.lead { (nothing) }
            p { (shows) }
            pre { code { (command) } }
        }
    }
}

/// Nothing fits the filters.
pub(crate) fn nothing_fits(what: &str, all: &str) -> Markup {
    html! {
        div.empty {
            p.lead { "No " (what) " fits these filters." }
            p { a href=(all) { "Show all" } }
        }
    }
}
