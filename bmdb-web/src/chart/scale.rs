//! Scales: map values to places on the drawing, and choose which values get a label.

use crate::component::interval;
use chrono::{DateTime, Utc};

#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    values: (f64, f64),
    places: (f64, f64),
}

/// A labelled value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

impl Scale {
    /// Maps the first value to the first place, and the second to the second.
    pub(super) fn new(values: (f64, f64), places: (f64, f64)) -> Self {
        Self { values, places }
    }

    pub(super) fn place(&self, value: f64) -> f64 {
        let ((from, to), (start, end)) = (self.values, self.places);
        let span = to - from;
        if span == 0.0 {
            return f64::midpoint(start, end);
        }
        start + (value - from) / span * (end - start)
    }
}

/// Usual steps between times and between durations, in seconds.
const STEPS: [i64; 24] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
    86_400, 172_800, 604_800, 1_209_600, 2_419_200, 7_862_400, 31_449_600,
];

/// The smallest step of which at most `most` fit into `span`, or a multiple of the largest step.
fn step(span: i64, most: i64) -> i64 {
    let found = STEPS.iter().find(|step| span / **step <= most);
    found.copied().unwrap_or_else(|| {
        let [.., largest] = STEPS;
        (span / most / largest + 1) * largest
    })
}

/// Counts from 0 to the first tick that is not below `largest`, in steps of 1, 2 or 5 times a power
/// of ten.
pub(super) fn counts(largest: u64, most: u64) -> Vec<Tick> {
    let mut step = 1_u64;
    for factor in [2, 5, 10].into_iter().cycle() {
        if largest.div_ceil(step) <= most {
            break;
        }
        let power = 10_u64.pow(step.ilog10());
        match power.checked_mul(factor) {
            Some(next) => step = next,
            None => break,
        }
    }
    let tick = |nth: u64| {
        let value = nth.saturating_mul(step);
        Tick {
            at: value as f64,
            label: value.to_string(),
        }
    };
    (0..=largest.div_ceil(step).max(1)).map(tick).collect()
}

/// Durations from 0 to the first tick that is not below `largest` seconds.
pub(super) fn lengths(largest: i64, most: i64) -> Vec<Tick> {
    let largest = largest.max(1);
    // The last tick is above the largest value, so one step less fits.
    let step = step(largest, most - 1);
    let ticks = largest / step + i64::from(largest % step != 0);
    let tick = |nth: i64| {
        let value = nth.saturating_mul(step);
        Tick {
            at: value as f64,
            label: interval::text(value),
        }
    };
    (0..=ticks).map(tick).collect()
}

/// Times between `from` and `to`, at whole seconds, minutes, hours or days of UTC, as Unix seconds.
pub(super) fn times(from: DateTime<Utc>, to: DateTime<Utc>, most: i64) -> Vec<Tick> {
    let (first, last) = (from.timestamp(), to.timestamp());
    let step = step(last.saturating_sub(first), most);
    let format = match step {
        ..60 => "%H:%M:%S",
        60..86_400 => "%H:%M",
        _ => "%b %-d",
    };
    // Rounded up, because the plot begins at the first time.
    let begin = first.div_euclid(step) + i64::from(first.rem_euclid(step) != 0);
    let end = last.div_euclid(step);
    let tick = |nth: i64| {
        let at = nth.saturating_mul(step);
        let time = DateTime::from_timestamp(at, 0)?;
        Some(Tick {
            at: at as f64,
            label: time.format(format).to_string(),
        })
    };
    (begin..=end).filter_map(tick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn a_scale_maps_its_ends_to_the_ends_of_the_plot() {
        let scale = Scale::new((10.0, 20.0), (200.0, 100.0));
        assert_eq!(scale.place(10.0), 200.0);
        assert_eq!(scale.place(20.0), 100.0);
        assert_eq!(scale.place(15.0), 150.0);
        // A single value is drawn in the middle.
        assert_eq!(Scale::new((3.0, 3.0), (0.0, 10.0)).place(3.0), 5.0);
    }

    #[test]
    fn counts_are_labelled_in_steps_of_one_two_and_five() {
        for (largest, expected) in [
            (0, vec!["0", "1"]),
            (1, vec!["0", "1"]),
            (4, vec!["0", "1", "2", "3", "4"]),
            (5, vec!["0", "2", "4", "6"]),
            (17, vec!["0", "5", "10", "15", "20"]),
            (70, vec!["0", "20", "40", "60", "80"]),
            (1_999, vec!["0", "500", "1000", "1500", "2000"]),
        ] {
            assert_eq!(labels(&counts(largest, 4)), expected, "{largest}");
        }
    }

    #[test]
    fn the_largest_count_is_labelled() {
        let ticks = counts(u64::MAX, 4);
        assert!(ticks.len() <= 5, "{ticks:?}");
        assert!(ticks.last().unwrap().at >= u64::MAX as f64 * 0.99);
    }

    #[test]
    fn durations_are_labelled_in_usual_steps() {
        for (largest, expected) in [
            (1, vec!["0s", "1s"]),
            (9, vec!["0s", "5s", "10s"]),
            (100, vec!["0s", "30s", "1m", "1m30s", "2m"]),
            (14_400, vec!["0s", "2h", "4h"]),
            (4 * 86_400, vec!["0s", "2d", "4d"]),
        ] {
            assert_eq!(labels(&lengths(largest, 4)), expected, "{largest}");
        }
        let most = lengths(i64::MAX, 4);
        assert!((2..=6).contains(&most.len()), "{most:?}");
    }

    #[test]
    fn times_are_labelled_at_whole_minutes_hours_and_days() {
        let from = DateTime::from_timestamp(1_700_000_005, 0).unwrap(); // 22:13:25
        for (seconds, expected) in [
            (40, vec!["22:13:30", "22:13:40", "22:13:50", "22:14:00"]),
            (3_600, vec!["22:15", "22:30", "22:45", "23:00"]),
            (5 * 86_400, vec!["Nov 15", "Nov 17", "Nov 19"]),
        ] {
            let to = from + chrono::TimeDelta::seconds(seconds);
            assert_eq!(labels(&times(from, to, 4)), expected, "{seconds}");
        }
        let whole = times(DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, 4);
        assert!(whole.len() <= 6, "{whole:?}");
        // An empty span has one label.
        assert_eq!(times(from, from, 4).len(), 1);
    }
}
