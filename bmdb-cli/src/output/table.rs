//! Tables: full in a pipe, fitted to the terminal on one.

use super::page::Tone;
use super::value::{Time, one_line, relative};
use super::width::{self, Column, GAP, Slot, Yields};
use comfy_table::{
    Attribute, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row, Width, presets,
};
use std::fmt::Display;

/// Of a column that is left out rather than cut: half a number is another number.
pub(crate) const WHOLE: u16 = u16::MAX;

/// How many characters of an id are shown where there is little space: enough of a machine's for commands.
const SHORT_ID: usize = 8;

/// One cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    /// What says the same in less space.
    short: Option<String>,
    tone: Tone,
    right: bool,
}

impl Cell {
    pub(crate) fn new(text: impl Display) -> Self {
        Self {
            // A line break in a cause would break the table.
            text: one_line(&text.to_string()),
            short: None,
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

    /// A machine's id, of which commands take the first digits too.
    pub(crate) fn machine(id: impl Display) -> Self {
        let cell = Self::new(id);
        Self {
            short: Some(cell.text.chars().take(SHORT_ID).collect()),
            ..cell
        }
    }

    /// A time, and how far away it is. `now` is the database's.
    pub(crate) fn time(time: Time, now: Time) -> Self {
        Self {
            short: Some(relative(time, now)),
            ..Self::new(time.beside(now))
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

/// A table with a header. Columns are as wide as what is in them; where the terminal is too narrow, ids and
/// times get shorter first, then columns are cut in an order of the table's, and the cut is marked with `…`.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    order: Vec<Yields>,
}

/// A table as text.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) text: String,
    /// The columns for which there was no room.
    pub(super) left_out: Vec<&'static str>,
}

impl Table {
    pub(crate) fn new(header: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            header: header.into_iter().collect(),
            rows: Vec::new(),
            order: Vec::new(),
        }
    }

    /// The same, where these columns give way, the one that tells least first: each is cut, down to so
    /// many characters ([`WHOLE`]: not at all), before it is left out. The last one stays.
    pub(crate) fn yielding(self, columns: impl IntoIterator<Item = (&'static str, u16)>) -> Self {
        let order = columns.into_iter().filter_map(|(name, least)| {
            let column = self.header.iter().position(|other| *other == name)?;
            Some(Yields { column, least })
        });
        Self {
            order: order.collect(),
            ..self
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn render(&self, width: Option<u16>, coloured: bool) -> Rendered {
        let slots = match width {
            None => self.slots(false),
            Some(width) => width::fit(&self.columns(), &self.order, width),
        };
        let is_left_out = |column: &usize| slots.iter().all(|slot| slot.column != *column);
        let left_out = (0..self.header.len()).filter(is_left_out);
        Rendered {
            left_out: left_out
                .filter_map(|column| self.header.get(column).copied())
                .collect(),
            text: self.arranged(&slots, width.is_some(), coloured).trim_fmt() + "\n",
        }
    }

    /// All columns, as they are or with what is short.
    fn slots(&self, is_short: bool) -> Vec<Slot> {
        let all = 0..self.header.len();
        all.map(|column| Slot {
            column,
            width: WHOLE,
            is_short,
        })
        .collect()
    }

    fn columns(&self) -> Vec<Column> {
        let widths = |is_short| {
            let table = self.arranged(&self.slots(is_short), false, false);
            table.column_max_content_widths()
        };
        let (full, short) = (widths(false), widths(true));
        let widths = full.into_iter().zip(short).zip(&self.header);
        widths
            .map(|((full, short), name)| Column {
                full,
                short,
                name: u16::try_from(name.len()).unwrap_or(u16::MAX),
            })
            .collect()
    }

    fn arranged(&self, slots: &[Slot], is_fitted: bool, coloured: bool) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_truncation_indicator("…")
            // No cell has it: what is cut is cut where the room ends, and not behind a word before that.
            .set_delimiter('\n')
            .force_no_tty();
        if coloured {
            table.enforce_styling().style_text_only();
        }
        table.set_header(self.header(slots));
        for cells in &self.rows {
            let shown = slots.iter().filter_map(|slot| {
                let cell = cells.get(slot.column)?;
                Some(cell.arranged(slot.is_short))
            });
            let mut row = Row::from(shown.collect::<Vec<_>>());
            row.max_height(1);
            table.add_row(row);
        }
        table.set_content_arrangement(match is_fitted {
            false => ContentArrangement::Disabled,
            true => ContentArrangement::Dynamic,
        });
        // The columns decide.
        table.set_width(u16::MAX);
        for (column, slot) in table.column_iter_mut().zip(slots) {
            column.set_padding((0, GAP));
            if is_fitted {
                let width = slot.width.saturating_add(GAP);
                column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
            }
        }
        table
    }

    /// Names stand where their columns do.
    fn header(&self, slots: &[Slot]) -> Row {
        let first = self.rows.first();
        let names = slots.iter().filter_map(|slot| {
            let is_right = first
                .and_then(|row| row.get(slot.column))
                .is_some_and(|cell| cell.right);
            let cell = Cell {
                right: is_right,
                ..Cell::new(self.header.get(slot.column)?).tone(Tone::Dim)
            };
            Some(cell.arranged(false))
        });
        let mut row = Row::from(names.collect::<Vec<_>>());
        row.max_height(1);
        row
    }
}

impl Cell {
    fn arranged(&self, is_short: bool) -> comfy_table::Cell {
        let text = match &self.short {
            Some(short) if is_short => short,
            _ => &self.text,
        };
        let cell = comfy_table::Cell::new(text).set_alignment(match self.right {
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

    const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    fn table() -> Table {
        let mut table =
            Table::new(["MACHINE", "HELD", "CAUSE"]).yielding([("HELD", WHOLE), ("CAUSE", 10)]);
        table.row([
            Cell::machine(ID),
            Cell::number(7),
            Cell::new("no answer on port 22\nafter ten minutes").tone(Tone::Bad),
        ]);
        table.row([Cell::new("x"), Cell::number(12), Cell::new("")]);
        table
    }

    fn at(width: u16) -> String {
        table().render(Some(width), false).text
    }

    #[test]
    fn a_table_in_a_pipe_is_complete_and_has_no_colours() {
        assert_eq!(
            table().render(None, false).text,
            "MACHINE                               HELD  CAUSE\n\
             67e55044-10b1-426f-9247-bb680e5fe0c8     7  no answer on port 22 after ten minutes\n\
             x                                       12\n"
        );
    }

    #[test]
    fn on_a_narrow_terminal_ids_get_short_before_texts_are_cut() {
        assert_eq!(
            at(60),
            "MACHINE   HELD  CAUSE\n\
             67e55044     7  no answer on port 22 after ten minutes\n\
             x           12\n"
        );
        assert_eq!(
            at(29),
            "MACHINE   HELD  CAUSE\n\
             67e55044     7  no answer on…\n\
             x           12\n"
        );
    }

    #[test]
    fn a_column_for_which_there_is_no_room_is_left_out_and_named() {
        let narrow = table().render(Some(22), false);
        assert_eq!(
            narrow.text,
            "MACHINE   CAUSE\n\
             67e55044  no answer o…\n\
             x\n"
        );
        assert_eq!(narrow.left_out, ["HELD"]);
        assert!(table().render(Some(90), false).left_out.is_empty());
    }

    #[test]
    fn a_time_is_told_by_how_far_away_it_is_where_there_is_little_room() {
        let now = Time("2026-11-22T05:34:25Z".parse().unwrap());
        let mut table = Table::new(["SINCE"]);
        table.row([Cell::time(now, now)]);
        assert_eq!(table.render(Some(20), false).text, "SINCE\nnow\n");
        let wide = table.render(None, false).text;
        assert_eq!(wide, "SINCE\n2026-11-22 05:34:25Z (now)\n");
    }

    #[test]
    fn every_width_is_kept() {
        for width in 1..100 {
            let text = at(width);
            let widest = text.lines().map(|line| line.chars().count()).max();
            // Two columns with what is between them need four.
            assert!(widest <= Some(width.max(4).into()), "{width}: {text}");
        }
    }

    #[test]
    fn colours_do_not_change_what_fits() {
        let text = table().render(Some(29), true).text;
        assert!(
            text.contains("no answer on…") && text.contains('\u{1b}'),
            "{text}"
        );
    }
}
