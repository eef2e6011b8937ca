//! Interval chart: how long a machine backed off after each failure, as steps.

use super::plot::{Figure, Plot, number};
use super::scale;
use crate::component::table::table;
use crate::component::{interval, time};
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use std::fmt::Write as _;

/// A backoff interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    /// When the attempt failed.
    pub(crate) at: DateTime<Utc>,
    pub(crate) seconds: i64,
}

/// Draws intervals in the order of time, each until the next one. The last one lasts until `now`, or to
/// its own end if that is later.
pub(crate) fn intervals(
    id: &str,
    title: &str,
    intervals: &[Interval],
    now: DateTime<Utc>,
) -> Markup {
    let largest = intervals.iter().map(|i| i.seconds).max().unwrap_or(0);
    let from = intervals.first().map_or(now, |first| first.at);
    let to = intervals.last().map_or(now, |last| {
        let length = TimeDelta::try_seconds(last.seconds).unwrap_or(TimeDelta::MAX);
        last.at.checked_add_signed(length).unwrap_or(now).max(now)
    });
    let plot = Plot::new(scale::lengths(largest, 4), (from, to), 5);
    let place = |interval: &Interval| {
        let y = plot.y(interval.seconds.max(0) as f64);
        (plot.x(interval.at), y)
    };
    let drawing = html! {
        g.s1 {
            path.line d=(path(intervals.iter().map(place), plot.x(to))) {}
            @for interval in intervals {
                @let (x, y) = place(interval);
                circle.dot cx=(number(x)) cy=(number(y)) r="3.5" {
                    title {
                        (interval.at.format("%Y-%m-%d %H:%M:%S")) ": " (interval::text(interval.seconds))
                    }
                }
            }
        }
    };
    Figure {
        id,
        title,
        description: describe(intervals),
        legend: html! {},
        plot,
        drawing,
        table: table(
            title,
            &["Failed at", "Interval"],
            // The latest first.
            intervals.iter().rev(),
            |i| vec![time::plain(i.at), interval::show(i.seconds)],
        ),
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

#[cfg(test)]
mod tests {
    use super::super::plot::{LEFT, RIGHT, WIDTH};
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
    fn an_interval_lasts_until_the_next_one() {
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
    fn text_and_a_table_repeat_the_chart() {
        let svg = intervals("x", "Intervals", &doubling(), after(500)).into_string();
        assert!(
            svg.contains("4 intervals, the first of 1m, the last of 4m."),
            "{svg}"
        );
        assert!(svg.contains("<span class=\"interval\">2m</span>"), "{svg}");
        assert!(!svg.contains("style="), "the policy forbids inline styles");
    }

    #[test]
    fn one_interval_none_and_impossible_ones_are_drawn() {
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
