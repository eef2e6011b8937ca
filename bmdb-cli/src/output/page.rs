//! A page for people: lines, fields and tables, with colours where they are wanted.

use super::table::Table;
use anstyle::{AnsiColor, Style};
use std::fmt::Display;

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

/// The text without control characters; line breaks stay, and so do sequences that change colours.
pub(super) fn harmless(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match colour(rest) {
            Some(length) => length,
            None => c.len_utf8(),
        };
        let (piece, behind) = rest.split_at(length);
        match c.is_control() && c != '\n' && length == c.len_utf8() {
            true => kept.push(' '),
            false => kept.push_str(piece),
        }
        rest = behind;
    }
    kept
}

/// How long the sequence is that the text begins with, if that changes a colour.
fn colour(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then_some(end + 3)
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

    /// What a terminal would obey does not get into it, whoever has written it, but for colours.
    pub(crate) fn line(&mut self, text: impl Display) {
        self.text.push_str(&harmless(&text.to_string()));
        self.blank();
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
        let table = table.render(self.width, self.tones.coloured);
        self.text.push_str(&table.text);
        if !table.left_out.is_empty() {
            let names = table.left_out.join(", ");
            self.note(format_args!("Left out, for want of width: {names}."));
        }
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
    fn what_a_terminal_would_obey_is_left_out_but_for_colours() {
        let mut page = Page::new(None, true);
        let red = page.paint(Tone::Bad, "a\u{1b}]52;c;x\u{7}b\u{9b}2J\tc");
        page.line(&red);
        page.line("\u{1b}[2Jd\u{1b}[31");
        assert_eq!(
            page.into_text(),
            "\u{1b}[1m\u{1b}[31ma ]52;c;x b 2J c\u{1b}[0m\n [2Jd [31\n"
        );
    }

    #[test]
    fn a_tone_is_a_colour_where_colours_are_wanted() {
        let page = Page::new(None, true);
        assert_eq!(page.paint(Tone::Good, "up"), "\u{1b}[32mup\u{1b}[0m");
        assert_eq!(page.paint(Tone::Plain, "up"), "up");
    }
}
