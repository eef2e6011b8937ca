//! Cards: one number with a label and a note.

use super::badge::Tone;
use maud::{Markup, html};
use std::fmt::Display;

pub(crate) fn card(
    label: &str,
    value: impl Display,
    address: Option<String>,
    tone: Tone,
    note: &str,
) -> Markup {
    html! {
        li.card.(tone.class()) {
            span.label { @if let Some(address) = address { a href=(address) { (label) } } @else { (label) } }
            span.value { (value) }
            span.note { (note) }
        }
    }
}
