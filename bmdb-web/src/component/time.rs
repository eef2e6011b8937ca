//! Times in UTC, with their distance from now by the database's clock, and durations.

use bmdb_model::time::infinite;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, html};

/// A time and its distance from `now`, the moment when the page was read.
pub(crate) fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    if infinite(at).is_some() {
        return plain(at);
    }
    html! { (plain(at)) " " span.ago data-at=(machine(at)) { (hint(at - now)) } }
}

/// Only the distance from `now`, for narrow columns; the title has the time.
pub(crate) fn short(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    if infinite(at).is_some() {
        return plain(at);
    }
    html! { time.ago datetime=(machine(at)) data-at=(machine(at)) title=(title(at)) { (hint(at - now)) } }
}

/// Only the time, to the second.
pub(crate) fn plain(at: DateTime<Utc>) -> Markup {
    if let Some(infinite) = infinite(at) {
        // No value of HTML's `datetime`, and no distance that the script could count on.
        return html! { span { (infinite) } };
    }
    html! { time datetime=(machine(at)) title=(title(at)) { (at.format("%Y-%m-%d %H:%M:%S")) " UTC" } }
}

fn machine(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn title(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string()
}

/// The script writes the same words.
fn hint(from_now: TimeDelta) -> String {
    let seconds = from_now.num_seconds();
    match (seconds, length(seconds.unsigned_abs())) {
        (0, _) => "now".to_owned(),
        (..0, length) => format!("{length} ago"),
        (_, length) => format!("in {length}"),
    }
}

/// A duration in its two largest units: `3 h 5 min`.
pub(crate) fn length(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let largest = UNITS.iter().position(|(unit, _)| seconds >= *unit);
    let Some(largest) = largest else {
        return "0 s".to_owned();
    };
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, name) in &UNITS[largest..UNITS.len().min(largest + 2)] {
        match rest / unit {
            0 => {}
            count => parts.push(format!("{count} {name}")),
        }
        rest %= unit;
    }
    parts.join(" ")
}

/// A duration that may be shorter than a second.
pub(crate) fn milliseconds(milliseconds: i64) -> String {
    match milliseconds.max(0) {
        short @ 0..1_000 => format!("{short} ms"),
        middle @ 1_000..10_000 => format!("{:.1} s", middle as f64 / 1000.0),
        long => length(long.unsigned_abs() / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_at_most_two_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (3_600 + 59, "1 h"),
            (86_400 + 7_200 + 61, "1 d 2 h"),
        ] {
            assert_eq!(length(seconds), expected);
        }
    }

    #[test]
    fn an_infinite_time_is_shown_as_postgres_writes_it() {
        use bmdb_model::time::{INFINITY, NEGATIVE_INFINITY};
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!(
            relative(INFINITY, now).into_string(),
            "<span>infinity</span>"
        );
        assert_eq!(
            short(NEGATIVE_INFINITY, now).into_string(),
            "<span>-infinity</span>"
        );
    }

    #[test]
    fn times_are_in_utc_for_people_and_for_scripts() {
        let at = DateTime::from_timestamp(1_700_000_000, 5_000_000).unwrap();
        let now = at + TimeDelta::seconds(90);
        assert_eq!(
            relative(at, now).into_string(),
            "<time datetime=\"2023-11-14T22:13:20.005Z\" title=\"2023-11-14 22:13:20.005 UTC\">\
             2023-11-14 22:13:20 UTC</time> \
             <span class=\"ago\" data-at=\"2023-11-14T22:13:20.005Z\">1 min 30 s ago</span>"
        );
        assert!(short(now, at).into_string().contains("in 1 min 30 s"));
    }

    #[test]
    fn short_durations_are_shown_more_precisely() {
        for (given, expected) in [
            (-5, "0 ms"),
            (999, "999 ms"),
            (1_250, "1.2 s"),
            (61_000, "1 min 1 s"),
        ] {
            assert_eq!(milliseconds(given), expected);
        }
        milliseconds(i64::MAX);
    }
}
