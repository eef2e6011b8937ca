//! Tables: full in a pipe, fitted to the terminal on one.

use super::page::Tone;
use super::value::one_line;
use comfy_table::{
    Attribute, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row, presets,
};
use std::fmt::Display;

/// One cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

impl Cell {
    pub(crate) fn new(text: impl Display) -> Self {
        Self {
            // A line break in a cause would break the table.
            text: one_line(&text.to_string()),
            tone: Tone::Plain,
            right: false,
        }
    }

    pub(crate) fn number(number: impl Display) -> Self {
        Self {
            right: true,
            ..Self::new(number)
        }
    }

    /// A value, or nothing.
    pub(crate) fn optional(text: Option<impl Display>) -> Self {
        text.map_or(Self::new(""), Self::new)
    }

    /// What is not known.
    pub(crate) fn unknown() -> Self {
        Self::number("?").tone(Tone::Dim)
    }

    pub(crate) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

/// A table with a header. Columns are as wide as what is in them; where the terminal is too narrow,
/// those that may shrink are cut, and the cut is marked with `…`.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    shrinking: Vec<&'static str>,
}

impl Table {
    pub(crate) fn new(header: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            header: header.into_iter().collect(),
            rows: Vec::new(),
            shrinking: Vec::new(),
        }
    }

    /// The same, where these columns may be cut: texts, not ids.
    pub(crate) fn shrinking(self, columns: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            shrinking: columns.into_iter().collect(),
            ..self
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn render(&self, width: Option<u16>, coloured: bool) -> String {
        let fits = |text: &str| width.is_none_or(|width| widest(text) <= width.into());
        // Colours are characters too, so what fits is found out without them.
        let all_shrink = !fits(&self.arranged(width, false, false));
        self.arranged(width, all_shrink, coloured)
    }

    /// As a last resort all columns shrink.
    fn arranged(&self, width: Option<u16>, all_shrink: bool, coloured: bool) -> String {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_truncation_indicator("…")
            .force_no_tty();
        if coloured {
            table.enforce_styling().style_text_only();
        }
        table.set_header(self.header());
        for cells in &self.rows {
            let mut row = Row::from(cells.iter().map(Cell::arranged).collect::<Vec<_>>());
            row.max_height(1);
            table.add_row(row);
        }
        table.set_content_arrangement(match width {
            None => ContentArrangement::Disabled,
            Some(_) => ContentArrangement::Dynamic,
        });
        table.set_width(width.unwrap_or(u16::MAX));
        for (column, name) in table.column_iter_mut().zip(&self.header) {
            column.set_padding((0, 2));
            if width.is_some() && !all_shrink && !self.shrinking.contains(name) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table.trim_fmt() + "\n"
    }

    /// Names stand where their columns do.
    fn header(&self) -> Row {
        let first = self.rows.first();
        let names = self.header.iter().enumerate().map(|(index, name)| {
            let is_right = first
                .and_then(|row| row.get(index))
                .is_some_and(|cell| cell.right);
            let cell = Cell {
                right: is_right,
                ..Cell::new(name).tone(Tone::Dim)
            };
            cell.arranged()
        });
        Row::from(names.collect::<Vec<_>>())
    }
}

impl Cell {
    fn arranged(&self) -> comfy_table::Cell {
        let cell = comfy_table::Cell::new(&self.text).set_alignment(match self.right {
            true => CellAlignment::Right,
            false => CellAlignment::Left,
        });
        match self.tone {
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::DarkGreen),
            Tone::Warn => cell.fg(Color::DarkYellow),
            Tone::Bad => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
            Tone::Dim => cell.add_attribute(Attribute::Dim),
            Tone::Strong => cell.add_attribute(Attribute::Bold),
        }
    }
}

fn widest(text: &str) -> usize {
    text.lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or_default()
}

/// How wide the terminal is on which answers are printed: COLUMNS, or what it says itself.
pub(super) fn terminal_width() -> Option<u16> {
    let said = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    said.or_else(|| comfy_table::Table::new().width())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["MACHINE", "HELD", "CAUSE"]).shrinking(["CAUSE"]);
        table.row([
            Cell::new("67e55044-10b1-426f-9247-bb680e5fe0c8"),
            Cell::number(7),
            Cell::new("no answer on port 22\nafter ten minutes").tone(Tone::Bad),
        ]);
        table.row([Cell::new("x"), Cell::number(12), Cell::new("")]);
        table
    }

    #[test]
    fn a_table_in_a_pipe_is_complete_and_has_no_colours() {
        assert_eq!(
            table().render(None, false),
            "MACHINE                               HELD  CAUSE\n\
             67e55044-10b1-426f-9247-bb680e5fe0c8     7  no answer on port 22 after ten minutes\n\
             x                                       12\n"
        );
    }

    #[test]
    fn on_a_narrow_terminal_texts_are_cut_and_ids_are_not() {
        assert_eq!(
            table().render(Some(56), false),
            "MACHINE                               HELD  CAUSE\n\
             67e55044-10b1-426f-9247-bb680e5fe0c8     7  no answer…\n\
             x                                       12\n"
        );
    }

    #[test]
    fn on_a_terminal_that_is_too_narrow_for_ids_every_column_shrinks() {
        let text = table().render(Some(30), false);
        assert!(widest(&text) <= 30, "{text}");
        assert!(text.lines().count() == 3 && text.contains('…'), "{text}");
    }

    #[test]
    fn colours_do_not_change_what_fits() {
        let text = table().render(Some(56), true);
        assert!(
            text.contains("no answer…") && text.contains('\u{1b}'),
            "{text}"
        );
    }
}
