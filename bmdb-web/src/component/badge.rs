//! Badges: a state in a word and a colour.

use maud::{Markup, html};

/// Chooses the colour of a badge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    /// In progress.
    Busy,
    Waiting,
    /// An operator has to look at it.
    Bad,
    Quiet,
}

impl Tone {
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Waiting => "waiting",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }
}

pub(crate) fn badge(tone: Tone, text: &str) -> Markup {
    html! { span.badge.(tone.class()) { (text) } }
}

/// How many attempts in a row expired; nothing if none did.
pub(crate) fn expired_attempts(count: i64) -> Markup {
    html! { @if count > 0 { " " (badge(Tone::Waiting, &format!("expired {count} times"))) } }
}
