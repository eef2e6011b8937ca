//! Ids as links: the first digits to see, the whole id in the title.

use crate::link::Links;
use bmdb_model::{MachineId, SessionId};
use maud::{Markup, html};

/// How many digits are shown: enough to tell machines apart at a glance, and to give to a command.
const DIGITS: usize = 8;

pub(crate) fn machine(links: &Links, id: MachineId) -> Markup {
    short(&links.machine(id), &id.to_string())
}

pub(crate) fn session(links: &Links, id: SessionId) -> Markup {
    short(&links.session(id), &id.to_string())
}

fn short(address: &str, id: &str) -> Markup {
    let digits = id.get(..DIGITS).unwrap_or(id);
    html! { a.id href=(address) title=(id) { code { (digits) } } }
}

/// The whole id, which one click selects.
pub(crate) fn whole(id: impl std::fmt::Display) -> Markup {
    html! { code.whole { (id) } }
}
