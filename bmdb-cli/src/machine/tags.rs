//! A tag of a machine: the values of its row, for any tag table.

use crate::output::{Page, Time, Tone, ellipsis};
use bmdb_model::custom_tags::{self, TagTable, Value};
use serde::Serialize;

/// The values by column, for people in the order of the table.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Tag {
    Set(Columns),
    Unreadable { unreadable: String },
}

/// JSON shows it as an object.
pub(super) struct Columns(Vec<(String, Shown)>);

impl Serialize for Columns {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// A value: null, a time or text. A text that is too long and bytes are objects.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown {
    Null,
    Time(Time),
    Text(String),
    Cut { text: String, length: u64 },
    Bytes { hex: String, length: u64 },
}

impl Tag {
    /// The tag and its name; `None` if the machine does not have it.
    pub(super) fn of(table: TagTable, tag: custom_tags::Tag) -> Option<(String, Self)> {
        let tag = match tag {
            custom_tags::Tag::Unset => return None,
            custom_tags::Tag::Unreadable(reason) => Self::Unreadable { unreadable: reason },
            custom_tags::Tag::Set(values) => {
                let names = table.columns.into_iter().map(|column| column.name);
                Self::Set(Columns(
                    names.zip(values.into_iter().map(Shown::from)).collect(),
                ))
            }
        };
        Some((table.name, tag))
    }

    pub(super) fn show(&self, name: &str, now: Time, page: &mut Page) {
        page.line(name);
        match self {
            Self::Unreadable { unreadable } => {
                page.painted_line(Tone::Warn, format_args!("  {unreadable}"));
            }
            Self::Set(Columns(values)) => {
                let set = values
                    .iter()
                    .filter(|(_, value)| !matches!(value, Shown::Null));
                page.fields(set.map(|(name, value)| (format!("  {name}"), value.text(now))));
            }
        }
    }
}

impl From<Value> for Shown {
    fn from(value: Value) -> Self {
        let is_cut = value.is_cut();
        match value {
            Value::Null => Self::Null,
            Value::Time(time) => Self::Time(Time(time)),
            Value::Bytes { hex, length } => Self::Bytes { hex, length },
            Value::Text { text, length } if is_cut => Self::Cut { text, length },
            Value::Text { text, .. } => Self::Text(text),
        }
    }
}

impl Shown {
    fn text(&self, now: Time) -> String {
        match self {
            Self::Null => String::new(),
            Self::Time(time) => time.beside(now),
            Self::Text(text) => text.clone(),
            Self::Cut { text, length } => {
                format!("{} {} ({length} characters)", first(text), ellipsis())
            }
            Self::Bytes { hex, length } if hex.len() <= LINE => format!("{hex} ({length} bytes)"),
            Self::Bytes { hex, length } => format!("{}{} ({length} bytes)", first(hex), ellipsis()),
        }
    }
}

/// How many characters of a long value people see.
const LINE: usize = 64;

fn first(text: &str) -> String {
    text.chars().take(LINE).collect()
}
