//! Intervals as steps: how long a machine was left alone after each failure.

use super::scale::{self, Scale};
use super::{
    BOTTOM, Figure, HEIGHT, LEFT, RIGHT, TOP, WIDTH, horizontal_axis, number, vertical_axis,
};
use crate::component::table::Table;
use crate::component::{interval, time};
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use std::fmt::Write as _;

/// An interval of a backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    /// When the failure was that it followed.
    pub(crate) at: DateTime<Utc>,
    /// How long it is, in whole seconds.
    pub(crate) seconds: i64,
}

/// The intervals in the order of time, each in force until the next one; the last until `now`, or to
/// its own end where that is still to come.
pub(crate) fn intervals(
    id: &str,
    title: &str,
    intervals: &[Interval],
    now: DateTime<Utc>,
) -> Markup {
    let largest = intervals.iter().map(|i| i.seconds).max().unwrap_or(0);
    let vertical_ticks = scale::lengths(largest, 4);
    let top = vertical_ticks.last().map_or(1.0, |tick| tick.at);
    let vertical = Scale::new((0.0, top), (HEIGHT - BOTTOM, TOP));
    let from = intervals.first().map_or(now, |first| first.at);
    let to = intervals.last().map_or(now, |last| {
        let length = TimeDelta::try_seconds(last.seconds).unwrap_or(TimeDelta::MAX);
        last.at.checked_add_signed(length).unwrap_or(now).max(now)
    });
    let seconds = |at: DateTime<Utc>| at.timestamp() as f64;
    let horizontal = Scale::new((seconds(from), seconds(to)), (LEFT, WIDTH - RIGHT));
    let place = |interval: &Interval| {
        let y = vertical.place(interval.seconds.max(0) as f64);
        (horizontal.place(seconds(interval.at)), y)
    };
    let drawing = html! {
        (vertical_axis(&vertical, &vertical_ticks))
        (horizontal_axis(&horizontal, &scale::times(from, to, 5)))
        g.s1 {
            path.line d=(path(intervals.iter().map(place), horizontal.place(seconds(to)))) {}
            @for interval in intervals {
                @let (x, y) = place(interval);
                circle.dot cx=(number(x)) cy=(number(y)) r="3.5" {
                    title {
                        (interval.at.format("%Y-%m-%d %H:%M:%S")) ": "
                        (crate::component::interval::text(interval.seconds))
                    }
                }
            }
        }
    };
    let description = describe(intervals);
    Figure {
        id,
        title,
        description: &description,
        legend: html! {},
        drawing,
        table: table(title, intervals),
    }
    .render()
}

/// Steps from each place to the next, and on to the right end.
fn path(places: impl Iterator<Item = (f64, f64)>, end: f64) -> String {
    let mut path = String::new();
    for (x, y) in places {
        let (x, y) = (number(x), number(y));
        // Writing to a string cannot fail.
        let _ = match path.is_empty() {
            true => write!(path, "M{x} {y}"),
            false => write!(path, "H{x}V{y}"),
        };
    }
    if !path.is_empty() {
        let _ = write!(path, "H{}", number(end));
    }
    path
}

fn describe(intervals: &[Interval]) -> String {
    match intervals {
        [] => "No intervals.".to_owned(),
        [only] => format!("One interval of {}.", interval::text(only.seconds)),
        [first, .., last] => format!(
            "{} intervals, the first of {}, the last of {}.",
            intervals.len(),
            interval::text(first.seconds),
            interval::text(last.seconds)
        ),
    }
}

/// The latest first.
fn table(title: &str, intervals: &[Interval]) -> Markup {
    let mut table = Table::new(title, &["Failed at", "Interval"]);
    for Interval { at, seconds } in intervals.iter().rev() {
        table.row(vec![time::plain(*at), interval::show(*seconds)]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn doubling() -> Vec<Interval> {
        let of = |(at, seconds): &(i64, i64)| Interval {
            at: after(*at),
            seconds: *seconds,
        };
        [(0, 60), (60, 120), (180, 240), (420, 240)]
            .iter()
            .map(of)
            .collect()
    }

    #[test]
    fn an_interval_is_in_force_until_the_next_one() {
        let svg = intervals("x", "Intervals", &doubling(), after(500)).into_string();
        let path = svg
            .split(" d=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        assert_eq!(path.matches('V').count(), 3, "{path}");
        assert_eq!(path.matches('H').count(), 4, "{path}");
        assert!(path.starts_with(&format!("M{LEFT} ")), "{path}");
        // The last one ends after now.
        assert!(path.ends_with(&format!("H{}", WIDTH - RIGHT)), "{path}");
        assert_eq!(svg.matches("<circle").count(), 4);
    }

    #[test]
    fn words_and_a_table_say_what_is_drawn() {
        let svg = intervals("x", "Intervals", &doubling(), after(500)).into_string();
        assert!(
            svg.contains("4 intervals, the first of 1m, the last of 4m."),
            "{svg}"
        );
        assert!(svg.contains("<span class=\"interval\">2m</span>"), "{svg}");
        assert!(!svg.contains("style="), "forbidden by the policy");
    }

    #[test]
    fn one_interval_none_and_those_that_cannot_be_are_drawn_all_the_same() {
        let at = after(0);
        for seconds in [0, -5, i64::MIN, i64::MAX] {
            let one = [Interval { at, seconds }];
            let svg = intervals("x", "Intervals", &one, at).into_string();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        let none = intervals("x", "Intervals", &[], at).into_string();
        assert!(none.contains("No intervals."), "{none}");
    }
}
