//! Page: an answer for people, made of lines, fields and tables.

use super::line::Line;
use super::table::Table;
use super::tone::Tone;
use std::fmt::Display;

#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    /// The terminal's width; `None` for a pipe or a file, where tables are complete.
    width: Option<u16>,
    coloured: bool,
}

impl Page {
    pub(crate) const fn new(width: Option<u16>, coloured: bool) -> Self {
        Self {
            text: String::new(),
            width,
            coloured,
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Adds a line, whose text is escaped.
    pub(crate) fn line(&mut self, text: impl Display) {
        self.painted_line(Tone::Plain, text);
    }

    pub(crate) fn painted_line(&mut self, tone: Tone, text: impl Display) {
        self.styled_line(&Line::new().toned(tone, text));
    }

    /// Adds a line of several tones.
    pub(crate) fn styled_line(&mut self, line: &Line) {
        self.text.push_str(&line.paint(self.coloured));
        self.blank();
    }

    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Adds a title, after a blank line unless the page is empty.
    pub(crate) fn heading(&mut self, text: impl Display) {
        if !self.text.is_empty() {
            self.blank();
        }
        self.painted_line(Tone::Strong, text);
    }

    /// Adds a remark, such as the next step where a list is empty.
    pub(crate) fn note(&mut self, text: impl Display) {
        self.painted_line(Tone::Dim, text);
    }

    /// Adds names and values in two aligned columns.
    pub(crate) fn fields<N: AsRef<str>, V: Display>(
        &mut self,
        fields: impl IntoIterator<Item = (N, V)>,
    ) {
        let fields: Vec<_> = fields.into_iter().collect();
        let widest = fields.iter().map(|(name, _)| name.as_ref().chars().count());
        let widest = widest.max().unwrap_or_default();
        for (name, value) in fields {
            let line = Line::new()
                .toned(Tone::Dim, format_args!("{:<widest$}", name.as_ref()))
                .plain(format_args!("  {value}"));
            self.styled_line(&line);
        }
    }

    /// Adds a table that fits the terminal, and names the columns that had to be hidden.
    pub(crate) fn table(&mut self, table: Table) {
        let table = table.render(self.width, self.coloured);
        self.text.push_str(&table.text);
        if !table.hidden.is_empty() {
            let names = table.hidden.join(", ");
            self.note(format_args!(
                "Columns hidden (terminal too narrow): {names}."
            ));
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
    fn whatever_a_text_contains_is_escaped() {
        let mut page = Page::new(None, true);
        page.painted_line(Tone::Bad, "a\u{1b}]52;c;x\u{7}b\u{9b}2J\tc");
        page.line("\u{1b}[2Jd\u{1b}[31");
        assert_eq!(
            page.into_text(),
            "\u{1b}[1m\u{1b}[31ma\\u{1b}]52;c;x\\u{7}b\\u{9b}2J\\tc\u{1b}[0m\n\\u{1b}[2Jd\\u{1b}[31\n"
        );
    }
}
