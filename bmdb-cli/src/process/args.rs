//! Numbers per window, shares, and other arguments of limits and breakers.

use crate::run::duration::duration;
use bmdb_model::process_control::{Per, Percent};
use chrono::{DateTime, Utc};
use clap::Args;
use std::str::FromStr;

/// Whether the machines of each provider are counted for themselves.
#[derive(Args)]
pub(super) struct PerArg {
    /// What it counts: the whole process, or the machines of each provider.
    #[arg(long, value_name = "process|provider", default_value = "process", value_parser = per)]
    pub(super) per: Per,
}

fn per(text: &str) -> Result<Per, String> {
    text.parse()
        .map_err(|error: bmdb_model::UnknownName| error.to_string())
}

/// A value, or `none` for no such value any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting<T> {
    None,
    Some(T),
}

impl<T> Setting<T> {
    /// What is in force afterwards, if `before` is now and the option may be absent.
    pub(super) fn or(setting: Option<Self>, before: Option<T>) -> Option<T> {
        match setting {
            None => before,
            Some(Self::None) => None,
            Some(Self::Some(value)) => Some(value),
        }
    }
}

impl<T: FromStr> FromStr for Setting<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text {
            "none" => Ok(Self::None),
            text => text.parse().map(Self::Some),
        }
    }
}

/// A number of machines. Whether it is in range is checked by the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machines(pub(super) i64);

impl FromStr for Machines {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse().map(Self);
        number.map_err(|_| "expected a whole number of machines, such as 5, or none".to_owned())
    }
}

/// So many within a window: `10/10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) count: i64,
    pub(super) seconds: i64,
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected a number and a window in whole seconds, such as 10/10m, or none";
        let (count, window) = text.split_once('/').ok_or(expected)?;
        let count = count.parse().map_err(|_| expected)?;
        let seconds = whole_seconds(window).map_err(|error| format!("{error}; {expected}"))?;
        Ok(Self { count, seconds })
    }
}

/// A time in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) i64);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        whole_seconds(text).map(Self)
    }
}

fn whole_seconds(text: &str) -> Result<i64, String> {
    let time = duration(text)?;
    if time.subsec_nanos() != 0 {
        return Err(format!("{text} is not a number of whole seconds"));
    }
    i64::try_from(time.as_secs()).map_err(|error| error.to_string())
}

/// How many machines may need a process: a share, `5%`, or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Share(Percent),
    Machines(i64),
}

impl FromStr for Due {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.ends_with('%') {
            let share = text.parse().map(Self::Share);
            return share.map_err(|error| error.to_string());
        }
        let number = text.parse().map(Self::Machines);
        number.map_err(|_| {
            "expected a share of the machines such as 5%, a number of machines such as 20, or none"
                .to_owned()
        })
    }
}

/// A point in time, in RFC 3339.
pub(super) fn point(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text);
    time.map(DateTime::into).map_err(|error| {
        format!(
            "{error}: expected a time such as 2026-11-22T05:34:25Z or 2026-11-22T06:34:25+01:00"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_within_a_window_is_read() {
        let window = |count, seconds| Ok(Window { count, seconds });
        assert_eq!("10/10m".parse(), window(10, 600));
        assert_eq!("-1/0".parse(), window(-1, 0), "its range is the library's");
        for text in [
            "", "10", "/", "10/", "/10m", "1.5/10m", "10/10x", "10/-1m", "1/250ms", "1/1m/1m",
        ] {
            let refused = text.parse::<Window>().unwrap_err();
            assert!(refused.contains("such as 10/10m"), "{text}: {refused}");
        }
    }

    #[test]
    fn due_is_a_share_or_a_number() {
        assert_eq!("20".parse(), Ok(Due::Machines(20)));
        assert!(matches!("0.5%".parse(), Ok(Due::Share(_))));
        for text in ["", "x", "5 %", "101%", "0%", "1.5"] {
            assert!(text.parse::<Due>().is_err(), "{text}");
        }
    }

    #[test]
    fn none_takes_a_value_away_and_an_absent_option_keeps_it() {
        let of = |text: &str| text.parse::<Setting<Machines>>().ok();
        assert_eq!(Setting::or(of("none"), Some(Machines(1))), None);
        assert_eq!(Setting::or(of("2"), Some(Machines(1))), Some(Machines(2)));
        assert_eq!(Setting::or(None, Some(Machines(1))), Some(Machines(1)));
    }

    #[test]
    fn a_point_in_time_has_a_zone() {
        let utc = point("2026-11-22T06:34:25+01:00").unwrap();
        assert_eq!(utc.to_rfc3339(), "2026-11-22T05:34:25+00:00");
        let refused = point("2026-11-22 06:34:25").unwrap_err();
        assert!(
            refused.contains("such as 2026-11-22T05:34:25Z"),
            "{refused}"
        );
    }
}
