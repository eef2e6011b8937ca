//! Badges: a state in a word, and in a colour for those who see it.

use maud::{Markup, html};

/// What a state means for whoever looks; it only chooses the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// In progress.
    Busy,
    /// Waiting for something.
    Waiting,
    /// Somebody has to look at it.
    Bad,
    /// Nothing to say.
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
