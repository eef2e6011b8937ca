//! Stacked bars: how many of each kind in each minute.

use super::scale::{self, Scale};
use super::{
    BOTTOM, Figure, HEIGHT, LEFT, RIGHT, TOP, WIDTH, horizontal_axis, number, vertical_axis,
};
use crate::component::table::Table;
use crate::component::time;
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

/// A kind of what is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// Its colour: `s1` to `s5` of the stylesheet.
    pub(crate) class: &'static str,
}

/// What was counted in one stretch of time.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    /// When it began.
    pub(crate) at: DateTime<Utc>,
    /// One for each series, in their order; the first is drawn at the bottom.
    pub(crate) counts: Vec<u64>,
}

/// Bars for stretches of time of the same width, in the order of time; one that is left out is a gap.
pub(crate) fn stacked(
    id: &str,
    title: &str,
    series: &[Series],
    bars: &[Bar],
    width: TimeDelta,
) -> Markup {
    let largest = bars.iter().map(Bar::total).max().unwrap_or(0);
    let vertical_ticks = scale::counts(largest, 4);
    let top = vertical_ticks.last().map_or(1.0, |tick| tick.at);
    let vertical = Scale::new((0.0, top), (HEIGHT - BOTTOM, TOP));
    let (from, to) = match bars {
        [first, .., last] => (first.at, last.at + width),
        [only] => (only.at, only.at + width),
        [] => (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + width),
    };
    let seconds = |at: DateTime<Utc>| at.timestamp() as f64;
    let places = (LEFT, WIDTH - RIGHT);
    let horizontal = Scale::new((seconds(from), seconds(to)), places);
    let room = horizontal.place(seconds(from + width)) - horizontal.place(seconds(from));
    // A gap between bars, unless they are too narrow for one.
    let broad = if room > 4.0 { room - 1.5 } else { room };
    let drawing = html! {
        (vertical_axis(&vertical, &vertical_ticks))
        @for bar in bars {
            @if bar.total() > 0 {
                g {
                    title { (bar.at.format("%H:%M")) ": " (told(series, bar)) }
                    @for part in parts(&vertical, bar) {
                        rect.bar.(series.get(part.nth).map_or("s1", |series| series.class))
                            x=(number(horizontal.place(seconds(bar.at)) + (room - broad) / 2.0))
                            y=(number(part.y)) width=(number(broad)) height=(number(part.height)) {}
                    }
                }
            }
        }
        (horizontal_axis(&horizontal, &scale::times(from, to, 6)))
    };
    let description = format!("{title}: {}.", totals(series, bars));
    Figure {
        id,
        title,
        description: &description,
        legend: legend(series),
        drawing,
        table: table(title, series, bars),
    }
    .render()
}

impl Bar {
    fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }
}

/// A piece of a bar.
struct Part {
    nth: usize,
    y: f64,
    height: f64,
}

fn parts(vertical: &Scale, bar: &Bar) -> impl Iterator<Item = Part> {
    let mut below = 0.0;
    bar.counts
        .iter()
        .enumerate()
        .filter_map(move |(nth, count)| {
            let from = below;
            // No higher than the bar, whose total saturates.
            below = (below + *count as f64).min(u64::MAX as f64);
            let y = vertical.place(below);
            let height = vertical.place(from) - y;
            (*count > 0).then_some(Part { nth, y, height })
        })
}

/// Such as `3 Finished, 1 Failed`.
fn told(series: &[Series], bar: &Bar) -> String {
    let told = series.iter().zip(&bar.counts).filter(|(_, n)| **n > 0);
    let told: Vec<String> = told.map(|(of, n)| format!("{n} {}", of.name)).collect();
    told.join(", ")
}

fn totals(series: &[Series], bars: &[Bar]) -> String {
    let total = |nth: usize| {
        let counts = bars.iter().filter_map(|bar| bar.counts.get(nth));
        counts.fold(0_u64, |sum, n| sum.saturating_add(*n))
    };
    let all = Bar {
        at: DateTime::UNIX_EPOCH,
        counts: (0..series.len()).map(total).collect(),
    };
    match all.total() {
        0 => "none".to_owned(),
        _ => told(series, &all),
    }
}

fn legend(series: &[Series]) -> Markup {
    html! {
        ul.legend {
            @for of in series {
                li {
                    svg.swatch.(of.class) viewBox="0 0 10 10" aria-hidden="true" {
                        rect.bar.(of.class) width="10" height="10" rx="2" {}
                    }
                    (of.name)
                }
            }
        }
    }
}

/// The stretches in which something was counted, the latest first.
fn table(title: &str, series: &[Series], bars: &[Bar]) -> Markup {
    let heads: Vec<&str> = std::iter::once("Minute")
        .chain(series.iter().map(|series| series.name))
        .collect();
    let mut table = Table::new(title, &heads);
    for bar in bars.iter().rev().filter(|bar| bar.total() > 0) {
        let counts = (0..series.len()).map(|nth| {
            let count = bar.counts.get(nth).copied().unwrap_or(0);
            html! { span.number { (count) } }
        });
        table.row(std::iter::once(time::plain(bar.at)).chain(counts).collect());
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: [Series; 2] = [
        Series {
            name: "Finished",
            class: "s2",
        },
        Series {
            name: "Failed",
            class: "s3",
        },
    ];

    fn bars(counts: &[[u64; 2]]) -> Vec<Bar> {
        let start = DateTime::from_timestamp(1_700_000_040, 0).unwrap(); // 22:14
        let minutes = counts.iter().zip(0..);
        let bar = |(counts, minute): (&[u64; 2], i64)| Bar {
            at: start + TimeDelta::minutes(minute),
            counts: counts.to_vec(),
        };
        minutes.map(bar).collect()
    }

    fn drawn(counts: &[[u64; 2]]) -> String {
        let (bars, width) = (bars(counts), TimeDelta::minutes(1));
        stacked("x", "Attempts", &SERIES, &bars, width).into_string()
    }

    /// The values of an attribute of all rectangles within bars.
    fn of_bars(svg: &str, attribute: &str) -> Vec<f64> {
        let rectangles = svg.split("<rect class=\"bar").skip(1);
        let rectangles = rectangles.filter(|rectangle| !rectangle.contains("rx=\"2\""));
        let value = |rectangle: &str| {
            let value = rectangle.split(&format!(" {attribute}=\"")).nth(1)?;
            value.split('"').next()?.parse().ok()
        };
        rectangles.filter_map(value).collect()
    }

    #[test]
    fn parts_lie_on_each_other_and_are_as_high_as_their_counts() {
        let svg = drawn(&[[3, 1], [0, 0], [0, 2]]);
        let heights = of_bars(&svg, "height");
        let tops = of_bars(&svg, "y");
        assert_eq!(heights.len(), 3, "nothing is drawn of nothing: {svg}");
        let unit = (HEIGHT - BOTTOM - TOP) / 4.0;
        assert_eq!(heights, [3.0 * unit, unit, 2.0 * unit]);
        assert_eq!(tops[0] + heights[0], HEIGHT - BOTTOM);
        assert_eq!(tops[1] + heights[1], tops[0]);
        assert_eq!(tops[2] + heights[2], HEIGHT - BOTTOM);
    }

    #[test]
    fn bars_stay_inside_whatever_the_counts() {
        let many = vec![[u64::MAX, u64::MAX]; 60];
        for counts in [many, vec![[1, 0]], vec![]] {
            let svg = drawn(&counts);
            for x in of_bars(&svg, "x") {
                assert!((LEFT..=WIDTH - RIGHT).contains(&x), "{x}");
            }
            for y in of_bars(&svg, "y") {
                assert!((TOP - 0.1..=HEIGHT).contains(&y), "{y}");
            }
            assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{svg}");
        }
    }

    #[test]
    fn words_and_a_table_say_what_is_drawn() {
        let svg = drawn(&[[3, 1], [0, 0], [0, 2]]);
        for part in [
            "<title id=\"x-title\">Attempts</title>",
            "<desc id=\"x-desc\">Attempts: 3 Finished, 3 Failed.</desc>",
            "aria-labelledby=\"x-title\"",
            "<title>22:14: 3 Finished, 1 Failed</title>",
            "The same as a table",
        ] {
            assert!(svg.contains(part), "no {part} in {svg}");
        }
        assert!(drawn(&[]).contains("Attempts: none."));
        assert!(!svg.contains("style="), "forbidden by the policy");
    }
}
