//! Pages of lists, and the keys that say where the next page begins.

use chrono::{DateTime, Utc};
use std::fmt;
use std::str::FromStr;

/// A page of a list, as read by the key of its last row: what a page costs does not depend on how far
/// down the list it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, K> {
    /// The rows. They may be fewer than asked for although there are more: `next` tells.
    pub rows: Vec<T>,
    /// What to go on after; `None` where the list ends.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// A page of rows that were asked for with one more than `limit`, which is what tells whether there
    /// is a next one.
    pub(crate) fn of(mut rows: Vec<T>, limit: i64, key: impl FnOnce(&T) -> K) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        let is_more = rows.len() > limit;
        rows.truncate(limit);
        let next = if is_more { rows.last().map(key) } else { None };
        Self { rows, next }
    }
}

/// A text that is no key of this list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place in this list: take one from the page before, or begin without")]
pub struct InvalidKey(String);

impl InvalidKey {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.chars().take(200).collect())
    }
}

/// The year 1, before which nothing was planned and nothing happened.
pub(crate) const EARLIEST: DateTime<Utc> = match DateTime::from_timestamp(-62_135_596_800, 0) {
    Some(time) => time,
    None => DateTime::UNIX_EPOCH,
};

/// The parts of a key, as it stands in a URL or on a command line: digits, letters, hyphens and
/// underscores, with a dot between them.
pub(crate) struct Parts<'a> {
    whole: &'a str,
    parts: std::str::Split<'a, char>,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(whole: &'a str) -> Self {
        let parts = whole.split('.');
        Self { whole, parts }
    }

    pub(crate) fn invalid(&self) -> InvalidKey {
        InvalidKey::new(self.whole)
    }

    pub(crate) fn parse<T: FromStr>(&mut self) -> Result<T, InvalidKey> {
        let part = self.parts.next().and_then(|part| part.parse().ok());
        part.ok_or_else(|| self.invalid())
    }

    /// A time that PostgreSQL has too: its last one is later than Chrono's, its first one is not earlier.
    pub(crate) fn time(&mut self) -> Result<DateTime<Utc>, InvalidKey> {
        let micros = self.parse()?;
        let time = DateTime::from_timestamp_micros(micros).filter(|time| *time >= EARLIEST);
        time.ok_or_else(|| self.invalid())
    }

    pub(crate) fn end(mut self) -> Result<(), InvalidKey> {
        match self.parts.next() {
            None => Ok(()),
            Some(_) => Err(self.invalid()),
        }
    }
}

/// Writes parts with dots between them.
pub(crate) fn join(f: &mut fmt::Formatter<'_>, parts: &[&dyn fmt::Display]) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        let dot = if at == 0 { "" } else { "." };
        write!(f, "{dot}{part}")?;
    }
    Ok(())
}

/// A key of a list that is ordered by machine and a name.
macro_rules! machine_and_name {
    ($(#[$doc:meta])* $key:ident, $name:ident: $type:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $key {
            pub(crate) machine: crate::MachineId,
            pub(crate) $name: $type,
        }

        impl std::fmt::Display for $key {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                crate::page::join(f, &[&self.machine, &self.$name])
            }
        }

        impl std::str::FromStr for $key {
            type Err = crate::page::InvalidKey;

            fn from_str(text: &str) -> Result<Self, crate::page::InvalidKey> {
                let mut parts = crate::page::Parts::of(text);
                let (machine, $name) = (parts.parse()?, parts.parse()?);
                parts.end()?;
                Ok(Self { machine, $name })
            }
        }
    };
}
pub(crate) use machine_and_name;

#[cfg(test)]
mod tests {
    use super::{EARLIEST, Parts};
    use chrono::{DateTime, Utc};

    #[test]
    fn a_key_of_the_wrong_shape_is_refused_with_its_text() {
        for bad in ["", "x", "1", "1.2.3", "99999999999999999999.2"] {
            let mut parts = Parts::of(bad);
            let read = (|| {
                parts.time()?;
                parts.parse::<i64>()?;
                parts.end()
            })();
            let error = read.unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{bad:?} is no place")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_time_that_only_chrono_has_is_refused() {
        let read = |micros: i64| Parts::of(&micros.to_string()).time().ok();
        let first = EARLIEST.timestamp_micros();
        assert_eq!(read(first), Some(EARLIEST));
        // What stands before everything in the keys of histories.
        let last = DateTime::<Utc>::MAX_UTC.timestamp_micros();
        assert_eq!(read(last), DateTime::from_timestamp_micros(last));
        for bad in [first - 1, -3_000_000_000_000_000_000, i64::MIN, i64::MAX] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
