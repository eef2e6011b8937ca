//! Times as sentences have them.

use bmdb_model::time::infinite;
use chrono::{DateTime, Utc};

/// `2026-11-22 05:34:25Z (3 min ago)`.
pub(super) fn moment(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let written = match infinite(time) {
        Some(infinite) => infinite.to_owned(),
        None => time.format("%Y-%m-%d %H:%M:%SZ").to_string(),
    };
    format!("{written} ({})", relative(time, now))
}

/// The distance of a time from `now`, in its largest unit: `3 min ago`, `in 2 h`, `now`. `never` and
/// `always` for a time that somebody has set to infinity by SQL.
#[must_use]
pub fn relative(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match infinite(time) {
        None => {}
        Some("infinity") => return "never".to_owned(),
        Some(_) => return "always".to_owned(),
    }
    let distance = time - now;
    let seconds = distance.num_seconds().unsigned_abs();
    let (amount, unit) = match seconds {
        0 => return "now".to_owned(),
        1..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "min"),
        3600..86_400 => (seconds / 3600, "h"),
        86_400..172_800 => (1, "day"),
        _ => (seconds / 86_400, "days"),
    };
    if distance > chrono::TimeDelta::zero() {
        format!("in {amount} {unit}")
    } else {
        format!("{amount} {unit} ago")
    }
}
