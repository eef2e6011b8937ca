//! Cursors: the key of the last index entry that a page read.

use crate::page::EARLIEST;
use crate::{MachineId, Provider};
use chrono::{DateTime, Utc};
use std::fmt;
use std::str::FromStr;

/// Where a list continues. Its text can be part of a URL. A cursor is valid only for the filters that
/// it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub(super) Key);

/// The key of an entry, by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// In `machines`.
    Machine(MachineId),
    /// In a tag's table.
    Tagged(MachineId),
    /// In the index of claimed lanes: machine and lane.
    Claimed(MachineId, String),
    /// In the index of backoffs: end and machine.
    BackingOff(DateTime<Utc>, MachineId),
    /// In a queue, in the order in which a page shows it.
    Queued(Option<Provider>, DateTime<Utc>, MachineId),
    /// In the index of provider ids.
    Provided(Provider, String),
}

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position in this list; start from the first page")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Key::Machine(id) => write!(f, "m.{id}"),
            Key::Tagged(id) => write!(f, "t.{id}"),
            Key::Claimed(id, lane) => write!(f, "h.{id}.{lane}"),
            Key::BackingOff(until, id) => write!(f, "b.{}.{id}", until.timestamp_micros()),
            Key::Queued(provider, at, id) => {
                let provider = provider.as_ref().map_or("", Provider::as_str);
                write!(f, "q.{provider}.{}.{id}", at.timestamp_micros())
            }
            Key::Provided(provider, id) => write!(f, "p.{provider}.{id}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        key(text).map(Self).ok_or(InvalidCursor)
    }
}

fn key(text: &str) -> Option<Key> {
    let (kind, key) = text.split_once('.')?;
    Some(match kind {
        "m" => Key::Machine(key.parse().ok()?),
        "t" => Key::Tagged(key.parse().ok()?),
        "h" => {
            let (id, lane) = key.split_once('.')?;
            Key::Claimed(id.parse().ok()?, storable(lane)?)
        }
        "b" => {
            let (until, id) = key.split_once('.')?;
            Key::BackingOff(time(until)?, id.parse().ok()?)
        }
        "q" => {
            let (provider, rest) = key.split_once('.')?;
            let (at, id) = rest.split_once('.')?;
            let provider = match provider {
                "" => None,
                name => Some(Provider::new(name).ok()?),
            };
            Key::Queued(provider, time(at)?, id.parse().ok()?)
        }
        "p" => {
            let (provider, id) = key.split_once('.')?;
            Key::Provided(Provider::new(provider).ok()?, storable(id)?)
        }
        _ => return None,
    })
}

fn storable(text: &str) -> Option<String> {
    (!text.contains('\0')).then(|| text.to_owned())
}

/// A time within PostgreSQL's range.
fn time(micros: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
    (EARLIEST..=LATEST).contains(&time).then_some(time)
}

/// The year 200,000, the latest time of an entry. Keys use it for entries that never become due, and
/// [`EARLIEST`] for entries that have always been due, because clients cannot read infinity.
pub(super) const LATEST: DateTime<Utc> = match DateTime::from_timestamp(6_249_223_382_400, 0) {
    Some(time) => time,
    None => DateTime::<Utc>::MAX_UTC,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let id = MachineId::random();
        let at = DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap();
        for key in [
            Key::Machine(id),
            Key::Tagged(id),
            Key::Claimed(id, "a-lane".to_owned()),
            Key::BackingOff(at, id),
            Key::Queued(None, at, id),
            Key::Queued(Some(Provider::EQUINIX), EARLIEST, id),
            Key::Provided(Provider::EQUINIX, "a.b/c ä".to_owned()),
        ] {
            let cursor = Cursor(key);
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn anything_else_is_no_cursor() {
        for text in [
            "",
            "m",
            "m.",
            "m.x",
            "x.y",
            "b.1.2",
            "q..9223372036854775807.x",
            "p.a b.c",
            "h.1",
            "b.99999999999999999999.67e55044-10b1-426f-9247-bb680e5fe0c8",
            "b.-9223372036854775808.67e55044-10b1-426f-9247-bb680e5fe0c8",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
