//! Tone: what a piece of text means, and its colour on a terminal.

use super::charset::shown;
use anstyle::{AnsiColor, Style};
use std::fmt::Display;

/// The meaning of a piece of text, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
    Dim,
    Strong,
}

impl Tone {
    /// The escaped text, in the tone's colour if `coloured`.
    pub(crate) fn paint(self, coloured: bool, text: impl Display) -> String {
        let style = match self {
            _ if !coloured => Style::new(),
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        };
        format!("{style}{}{style:#}", shown(&text.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::Tone;

    #[test]
    fn a_tone_is_a_colour_only_where_colours_are_on() {
        assert_eq!(Tone::Good.paint(true, "up"), "\u{1b}[32mup\u{1b}[0m");
        assert_eq!(Tone::Plain.paint(true, "up"), "up");
        assert_eq!(Tone::Good.paint(false, "up"), "up");
    }

    #[test]
    fn a_text_cannot_bring_colours_of_its_own() {
        let painted = Tone::Good.paint(true, "\u{1b}[8mup\n");
        assert_eq!(painted, "\u{1b}[32m\\u{1b}[8mup\\n\u{1b}[0m");
    }
}
