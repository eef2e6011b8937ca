//! A page for people: lines, fields and tables, with colours where they are wanted.

use super::table::Table;
use anstyle::{AnsiColor, Style};
use std::fmt::{Display, Write};

/// What a piece of text is about, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
    /// Of less interest than the rest.
    Dim,
    Strong,
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tones {
    coloured: bool,
}

impl Tones {
    pub(crate) const fn new(coloured: bool) -> Self {
        Self { coloured }
    }

    pub(crate) fn paint(self, tone: Tone, text: impl Display) -> String {
        let style = match tone {
            _ if !self.coloured => Style::new(),
            Tone::Plain => Style::new(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
            Tone::Dim => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
        };
        format!("{style}{text}{style:#}")
    }
}

/// A page that is being written.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    /// The terminal's; what is no terminal is as wide as it has to be.
    width: Option<u16>,
    tones: Tones,
}

impl Page {
    pub(crate) const fn new(width: Option<u16>, coloured: bool) -> Self {
        Self {
            text: String::new(),
            width,
            tones: Tones::new(coloured),
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// The text in the colour of its tone, for a part of a line.
    pub(crate) fn paint(&self, tone: Tone, text: impl Display) -> String {
        self.tones.paint(tone, text)
    }

    pub(crate) fn line(&mut self, text: impl Display) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "{text}");
    }

    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// The title of what follows, set off from what is there.
    pub(crate) fn heading(&mut self, text: impl Display) {
        if !self.text.is_empty() {
            self.blank();
        }
        let title = self.paint(Tone::Strong, text);
        self.line(title);
    }

    /// A remark, such as what to do where a list is empty.
    pub(crate) fn note(&mut self, text: impl Display) {
        let note = self.paint(Tone::Dim, text);
        self.line(note);
    }

    /// Names and values, aligned.
    pub(crate) fn fields<N: AsRef<str>, V: Display>(
        &mut self,
        fields: impl IntoIterator<Item = (N, V)>,
    ) {
        let fields: Vec<_> = fields.into_iter().collect();
        let widest = fields.iter().map(|(name, _)| name.as_ref().chars().count());
        let widest = widest.max().unwrap_or_default();
        for (name, value) in fields {
            let name = self.paint(Tone::Dim, format_args!("{:<widest$}", name.as_ref()));
            self.line(format_args!("{name}  {value}"));
        }
    }

    pub(crate) fn table(&mut self, table: Table) {
        let text = table.render(self.width, self.tones.coloured);
        self.text.push_str(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_aligned_and_without_colours_nothing_but_text() {
        let mut page = Page::new(None, false);
        page.line("a");
        page.heading("b");
        page.fields([("id", "1"), ("longer", "2")]);
        assert_eq!(page.into_text(), "a\n\nb\nid      1\nlonger  2\n");
    }

    #[test]
    fn a_tone_is_a_colour_where_colours_are_wanted() {
        let page = Page::new(None, true);
        assert_eq!(page.paint(Tone::Good, "up"), "\u{1b}[32mup\u{1b}[0m");
        assert_eq!(page.paint(Tone::Plain, "up"), "up");
    }
}
