//! Pages of lists, and the keys at which the next pages begin.

use chrono::{DateTime, Utc};
use std::fmt;
use std::str::FromStr;

/// A page of a list, read by the key of the previous page's last row. The cost of a page does not
/// depend on its position in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Page<T, K> {
    /// The rows. There may be fewer than requested although there are more: see `next`.
    pub rows: Vec<T>,
    /// The key after which the next page begins; `None` at the end of the list.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// A page of rows that were read with a limit of one more than `limit`. The extra row shows whether
    /// there is a next page.
    pub(crate) fn of(mut rows: Vec<T>, limit: i64, key: impl FnOnce(&T) -> K) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        let is_more = rows.len() > limit;
        rows.truncate(limit);
        let next = if is_more { rows.last().map(key) } else { None };
        Self { rows, next }
    }
}

/// The text is not a key of this list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a position in this list: use the one that the previous page names, or start from the first page"
)]
pub struct InvalidKey(String);

impl InvalidKey {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.chars().take(200).collect())
    }
}

/// The year 1, before any time that was planned or recorded.
pub(crate) const EARLIEST: DateTime<Utc> = match DateTime::from_timestamp(-62_135_596_800, 0) {
    Some(time) => time,
    None => DateTime::UNIX_EPOCH,
};

/// The parts of a key's text, as in a URL or on a command line: digits, letters, hyphens and
/// underscores, separated by dots.
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

    /// A time, which may be infinite.
    pub(crate) fn time(&mut self) -> Result<DateTime<Utc>, InvalidKey> {
        let time = DateTime::from_timestamp_micros(self.parse()?);
        time.ok_or_else(|| self.invalid())
    }

    pub(crate) fn end(mut self) -> Result<(), InvalidKey> {
        match self.parts.next() {
            None => Ok(()),
            Some(_) => Err(self.invalid()),
        }
    }
}

/// Writes the parts, separated by dots.
pub(crate) fn join(f: &mut fmt::Formatter<'_>, parts: &[&dyn fmt::Display]) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        let dot = if at == 0 { "" } else { "." };
        write!(f, "{dot}{part}")?;
    }
    Ok(())
}

/// A key whose text is its parts: times are microseconds, all other parts are their own text.
macro_rules! key {
    ($(#[$doc:meta])* $key:ident { $($field:ident: $kind:ident $(($type:ty))?),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $key {
            $(pub(crate) $field: crate::page::key!(@type $kind $($type)?),)*
        }

        impl std::fmt::Display for $key {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                crate::page::join(f, &[$(&crate::page::key!(@text $kind self.$field)),*])
            }
        }

        impl std::str::FromStr for $key {
            type Err = crate::page::InvalidKey;

            fn from_str(text: &str) -> Result<Self, crate::page::InvalidKey> {
                let mut parts = crate::page::Parts::of(text);
                $(let $field = crate::page::key!(@parse $kind parts);)*
                parts.end()?;
                Ok(Self { $($field),* })
            }
        }
    };
    (@type time) => { chrono::DateTime<chrono::Utc> };
    (@type part $type:ty) => { $type };
    (@text time $value:expr) => { $value.timestamp_micros() };
    (@text part $value:expr) => { $value };
    (@parse time $parts:ident) => { $parts.time()? };
    (@parse part $parts:ident) => { $parts.parse()? };
}
pub(crate) use key;

#[cfg(test)]
mod tests {
    use super::{EARLIEST, Parts};
    use crate::time::{INFINITY, NEGATIVE_INFINITY, infinite};
    use chrono::TimeDelta;

    #[test]
    fn a_malformed_key_is_refused_with_its_text() {
        for bad in ["", "x", "1", "1.2.3", "99999999999999999999.2"] {
            let mut parts = Parts::of(bad);
            let read = (|| {
                parts.time()?;
                parts.parse::<i64>()?;
                parts.end()
            })();
            let error = read.unwrap_err().to_string();
            let expected = format!("{bad:?} is not a position");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn a_time_may_be_infinite_or_before_christ_and_no_other_number() {
        let read = |micros: i64| Parts::of(&micros.to_string()).time().ok();
        for time in [INFINITY, NEGATIVE_INFINITY, EARLIEST - TimeDelta::days(365)] {
            let read = read(time.timestamp_micros()).unwrap();
            assert_eq!(infinite(read), infinite(time));
            assert_eq!(read.timestamp_micros(), time.timestamp_micros());
        }
        for bad in [i64::MIN, i64::MAX] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
