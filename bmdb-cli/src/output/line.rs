//! Line: pieces of text of different tones.

use super::tone::Tone;
use std::fmt::Display;

/// A line for people. Each piece is escaped when it is painted, so no piece can bring colours of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line(Vec<(Tone, String)>);

impl Line {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn plain(self, text: impl Display) -> Self {
        self.toned(Tone::Plain, text)
    }

    pub(crate) fn toned(mut self, tone: Tone, text: impl Display) -> Self {
        self.0.push((tone, text.to_string()));
        self
    }

    pub(super) fn paint(&self, coloured: bool) -> String {
        let pieces = self.0.iter();
        pieces
            .map(|(tone, text)| tone.paint(coloured, text))
            .collect()
    }
}
