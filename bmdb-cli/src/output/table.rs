//! Table: complete in a pipe, fitted to the width of a terminal.

use super::cell::Cell;
use super::charset::ellipsis;
use super::width::{self, Column, Flexible, GAP, Slot};
use comfy_table::{ColumnConstraint, ContentArrangement, Row, Width, presets};

/// The least width of a column that is hidden instead of cut: half a number is another number.
pub(crate) const WHOLE: u16 = u16::MAX;

/// A table with a header and one line for each row.
///
/// On a terminal that is too narrow, ids and times take their short form. Then the flexible columns are cut,
/// which `…` marks, and hidden.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    flexible: Vec<Flexible>,
}

#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) text: String,
    /// The names of the columns that had no room.
    pub(super) hidden: Vec<&'static str>,
}

impl Table {
    pub(crate) fn new(header: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            header: header.into_iter().collect(),
            rows: Vec::new(),
            flexible: Vec::new(),
        }
    }

    /// Names the columns that may be cut and hidden, the least important first, each with its least width
    /// ([`WHOLE`]: it is hidden instead of cut). The last one is never hidden.
    pub(crate) fn flexible(self, columns: impl IntoIterator<Item = (&'static str, u16)>) -> Self {
        let flexible = columns.into_iter().filter_map(|(name, least)| {
            let column = self.header.iter().position(|other| *other == name)?;
            Some(Flexible { column, least })
        });
        Self {
            flexible: flexible.collect(),
            ..self
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn render(&self, width: Option<u16>, coloured: bool) -> Rendered {
        let slots = match width {
            None => self.all(false),
            Some(width) => width::fit(&self.columns(), &self.flexible, width),
        };
        let is_hidden = |column: &usize| slots.iter().all(|slot| slot.column != *column);
        let hidden = (0..self.header.len()).filter(is_hidden);
        let mut table = self.arranged(&slots, coloured);
        if let Some(width) = width {
            // The padding behind the last column is trimmed.
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width.saturating_add(GAP));
        }
        Rendered {
            hidden: hidden.map(|column| self.header[column]).collect(),
            text: table.trim_fmt() + "\n",
        }
    }

    /// All columns, in their full or in their short form.
    fn all(&self, is_short: bool) -> Vec<Slot> {
        let columns = 0..self.header.len();
        let slot = |column| Slot {
            column,
            width: None,
            is_short,
        };
        columns.map(slot).collect()
    }

    fn columns(&self) -> Vec<Column> {
        let widths = |is_short| {
            let table = self.arranged(&self.all(is_short), false);
            table.column_max_content_widths()
        };
        let widths = widths(false).into_iter().zip(widths(true));
        widths.map(|(full, short)| Column { full, short }).collect()
    }

    fn arranged(&self, slots: &[Slot], coloured: bool) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_truncation_indicator(ellipsis())
            // No cell contains a line break, so that text is cut in the middle of a word if need be.
            .set_delimiter('\n')
            .force_no_tty();
        if coloured {
            table.enforce_styling().style_text_only();
        }
        let first = self.rows.first();
        table.set_header(line(slots, |slot| {
            let is_number = first.is_some_and(|row| row[slot.column].is_number);
            Cell::header(self.header[slot.column], is_number).styled(false)
        }));
        for cells in &self.rows {
            table.add_row(line(slots, |slot| cells[slot.column].styled(slot.is_short)));
        }
        for (column, slot) in table.column_iter_mut().zip(slots) {
            column.set_padding((0, GAP));
            if let Some(width) = slot.width {
                let width = Width::Fixed(width.saturating_add(GAP));
                column.set_constraint(ColumnConstraint::Absolute(width));
            }
        }
        table
    }
}

/// A row that is one line high.
fn line(slots: &[Slot], cell: impl FnMut(&Slot) -> comfy_table::Cell) -> Row {
    let mut row = Row::from(slots.iter().map(cell).collect::<Vec<_>>());
    row.max_height(1);
    row
}

#[cfg(test)]
mod tests {
    use super::super::tone::Tone;
    use super::super::value::Time;
    use super::*;

    const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    fn table() -> Table {
        let mut table =
            Table::new(["MACHINE", "USES", "CAUSE"]).flexible([("USES", WHOLE), ("CAUSE", 10)]);
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
            "MACHINE                               USES  CAUSE\n\
             67e55044-10b1-426f-9247-bb680e5fe0c8     7  no answer on port 22\\nafter ten minutes\n\
             x                                       12\n"
        );
    }

    #[test]
    fn on_a_narrow_terminal_ids_get_short_before_texts_are_cut() {
        assert_eq!(
            at(60),
            "MACHINE   USES  CAUSE\n\
             67e55044     7  no answer on port 22\\nafter ten minutes\n\
             x           12\n"
        );
        assert_eq!(
            at(29),
            "MACHINE   USES  CAUSE\n\
             67e55044     7  no answer on…\n\
             x           12\n"
        );
    }

    #[test]
    fn a_column_without_room_is_hidden_and_named() {
        let narrow = table().render(Some(22), false);
        assert_eq!(
            narrow.text,
            "MACHINE   CAUSE\n\
             67e55044  no answer o…\n\
             x\n"
        );
        assert_eq!(narrow.hidden, ["USES"]);
        assert!(table().render(Some(90), false).hidden.is_empty());
    }

    #[test]
    fn a_time_is_its_distance_from_now_where_there_is_little_room() {
        let now = Time("2026-11-22T05:34:25Z".parse().unwrap());
        let mut table = Table::new(["SINCE"]);
        table.row([Cell::time(now, now)]);
        assert_eq!(table.render(Some(20), false).text, "SINCE\nnow\n");
        let wide = table.render(None, false).text;
        assert_eq!(wide, "SINCE\n2026-11-22 05:34:25Z (now)\n");
    }

    #[test]
    fn columns_that_are_not_flexible_share_a_narrow_terminal() {
        let mut table = Table::new(["MACHINE", "PLACE", "STATE"]);
        table.row([
            Cell::machine(ID),
            Cell::new("p".repeat(20)),
            Cell::new("s".repeat(30)),
        ]);
        let (place, state) = ("p".repeat(18), "s".repeat(18));
        let cut = format!("67e55044  {place}…  {state}…\n");
        assert!(table.render(Some(50), false).text.ends_with(&cut));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 1..100 {
            let text = at(width);
            let widest = text.lines().map(|line| line.chars().count()).max();
            // Two columns and the space between them need four.
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
