//! Ids as links: the first digits are shown, the title has the whole id.

use crate::link::Links;
use bmdb_model::{MachineId, Provider, SessionId};
use maud::{Markup, html};
use std::fmt::Display;

/// How many digits are shown: enough to tell machines apart, and for commands to find one.
const DIGITS: usize = 8;

pub(crate) fn machine(links: &Links, id: MachineId) -> Markup {
    link(&links.machine(id), id)
}

/// A machine and its provider, if it has one.
pub(crate) fn machine_of(links: &Links, id: MachineId, provider: Option<&Provider>) -> Markup {
    html! {
        (machine(links, id))
        @if let Some(provider) = provider { " " span.muted { (provider) } }
    }
}

pub(crate) fn session(links: &Links, id: SessionId) -> Markup {
    link(&links.session(id), id)
}

fn link(address: &str, id: impl Display) -> Markup {
    html! { a.id href=(address) title=(id) { code { (short(&id)) } } }
}

pub(crate) fn short(id: impl Display) -> String {
    id.to_string().chars().take(DIGITS).collect()
}

/// The whole id, which one click selects.
pub(crate) fn whole(id: impl Display) -> Markup {
    html! { code.whole { (id) } }
}
