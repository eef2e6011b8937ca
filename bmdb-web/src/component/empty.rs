//! Empty states: what the list is for, and which command fills it.

use maud::{Markup, html};

pub(crate) const RUN: &str =
    "bmdb run --process ShepherdAgentStart --provider SiteA --exec './start-agent.sh'";

/// `purpose` says what the list is for; `command` fills it.
pub(crate) fn teach(nothing: &str, purpose: &str, command: &str) -> Markup {
    html! {
        div.empty {
            p.lead { (nothing) }
            p { (purpose) }
            pre { code { (command) } }
        }
    }
}

/// No row matches the filters; `all` is the address of the list without filters.
pub(crate) fn no_match(rows: &str, all: &str) -> Markup {
    html! {
        div.empty {
            p.lead { "No " (rows) " match these filters." }
            p { a href=(all) { "Show all" } }
        }
    }
}

/// A key after the last row.
pub(crate) fn end_of_list() -> Markup {
    html! { p { "There are no more rows." } }
}
