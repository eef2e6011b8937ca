//! Cell: one value of a table, with a shorter form where there is one.

use super::charset::shown;
use super::tone::Tone;
use super::value::{Time, relative};
use comfy_table::{Attribute, CellAlignment, Color};
use std::fmt::Display;

/// How many digits of a machine's id are shown on a narrow terminal. Commands accept them as its name.
const SHORT_ID: usize = 8;

#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    short: Option<String>,
    tone: Tone,
    pub(super) is_number: bool,
}

impl Cell {
    pub(crate) fn new(text: impl Display) -> Self {
        Self {
            // A line break in a cause would break the table.
            text: shown(&text.to_string()).into_owned(),
            short: None,
            tone: Tone::Plain,
            is_number: false,
        }
    }

    /// A value that is aligned to the right.
    pub(crate) fn number(number: impl Display) -> Self {
        Self {
            is_number: true,
            ..Self::new(number)
        }
    }

    /// A machine's id, or its first digits on a narrow terminal.
    pub(crate) fn machine(id: impl Display) -> Self {
        let cell = Self::new(id);
        Self {
            short: Some(cell.text.chars().take(SHORT_ID).collect()),
            ..cell
        }
    }

    /// A time and its distance from `now`, the database's time; on a narrow terminal only the distance.
    pub(crate) fn time(time: Time, now: Time) -> Self {
        Self {
            short: Some(relative(time, now)),
            ..Self::new(time.beside(now))
        }
    }

    /// A column's name, aligned like the column.
    pub(super) fn header(name: &str, is_number: bool) -> Self {
        Self {
            is_number,
            ..Self::new(name).tone(Tone::Dim)
        }
    }

    /// The value, or an empty cell.
    pub(crate) fn optional(text: Option<impl Display>) -> Self {
        text.map_or(Self::new(""), Self::new)
    }

    /// A number that is not known.
    pub(crate) fn unknown() -> Self {
        Self::number("?").tone(Tone::Dim)
    }

    pub(crate) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// The cell as comfy-table prints it.
    pub(super) fn styled(&self, is_short: bool) -> comfy_table::Cell {
        let text = match &self.short {
            Some(short) if is_short => short,
            _ => &self.text,
        };
        let cell = comfy_table::Cell::new(text).set_alignment(match self.is_number {
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
