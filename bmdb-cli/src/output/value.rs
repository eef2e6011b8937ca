//! Single values: times, intervals, ids and names, for people and in JSON.

use bmdb_backoff::Seconds;
use bmdb_model::time::infinite;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use std::fmt::{self, Display};

/// A time: RFC 3339 in UTC in JSON, `2026-11-22 05:34:25Z` for people; `infinity` and `-infinity` in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) DateTime<Utc>);

impl Time {
    /// The time and its distance from `now`, the database's time: `2026-11-22 05:34:25Z (3 min ago)`.
    pub(crate) fn beside(self, now: Self) -> String {
        format!("{self} ({})", relative(self, now))
    }
}

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match infinite(self.0) {
            Some(infinite) => f.pad(infinite),
            None => self.0.format("%Y-%m-%d %H:%M:%SZ").fmt(f),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match infinite(self.0) {
            Some(infinite) => serializer.serialize_str(infinite),
            None => serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true)),
        }
    }
}

/// The distance of a time from the database's `now`, in its largest unit: `3 min ago`, `in 2 h`, `now`.
pub(crate) fn relative(time: Time, now: Time) -> String {
    bmdb_core::operator::explain::relative(time.0, now.0)
}

/// An interval of whole seconds as backoff policies write it, such as `1h30m`; `0s` for none.
pub(crate) fn interval(seconds: i64) -> String {
    match seconds {
        ..=0 => "0s".to_owned(),
        _ => Seconds::from_db(seconds).to_string(),
    }
}

/// A value that JSON shows as the text that people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text<T>(pub(crate) T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time(DateTime::from_timestamp(1_795_325_665 + seconds, 0).unwrap())
    }

    #[test]
    fn a_time_is_utc_and_says_how_far_away_it_is() {
        assert_eq!(at(0).to_string(), "2026-11-22 05:34:25Z");
        assert_eq!(at(0).beside(at(200)), "2026-11-22 05:34:25Z (3 min ago)");
        assert_eq!(
            serde_json::to_string(&at(0)).unwrap(),
            "\"2026-11-22T05:34:25.000000Z\""
        );
    }

    #[test]
    fn an_infinite_time_is_shown_as_postgres_writes_it() {
        use bmdb_model::time::{INFINITY, NEGATIVE_INFINITY};
        assert_eq!(Time(INFINITY).beside(at(0)), "infinity (never)");
        assert_eq!(Time(NEGATIVE_INFINITY).beside(at(0)), "-infinity (always)");
        assert_eq!(
            serde_json::to_string(&Time(INFINITY)).unwrap(),
            "\"infinity\""
        );
    }

    #[test]
    fn a_distance_is_shown_in_its_largest_unit() {
        for (seconds, shown) in [
            (0, "now"),
            (-1, "1 s ago"),
            (59, "in 59 s"),
            (-60, "1 min ago"),
            (7199, "in 1 h"),
            (-86_400, "1 day ago"),
            (10 * 86_400, "in 10 days"),
        ] {
            assert_eq!(relative(at(seconds), at(0)), shown);
        }
    }

    #[test]
    fn an_interval_is_written_as_in_a_backoff_policy() {
        let shown = [0, -5, 90, 5400, 86_401].map(interval);
        assert_eq!(shown, ["0s", "0s", "1m30s", "1h30m", "1d1s"]);
    }
}
