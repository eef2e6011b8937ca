//! Stacked bar chart: how many events of each kind happened in each period.

use super::plot::{Figure, Plot, number};
use super::scale;
use crate::component::table::table;
use crate::component::{number as digits, time};
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

/// One kind of event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// Its colour: `s1` to `s5` of the stylesheet.
    pub(crate) class: &'static str,
}

/// The counts of one period.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    /// When the period began.
    pub(crate) at: DateTime<Utc>,
    /// One for each series, in their order; the first is drawn at the bottom.
    pub(crate) counts: Vec<u64>,
}

/// Draws bars for periods of this length, in the order of time. A missing period is a gap.
pub(crate) fn stacked(
    id: &str,
    title: &str,
    series: &[Series],
    bars: &[Bar],
    period: TimeDelta,
) -> Markup {
    let largest = bars.iter().map(Bar::total).max().unwrap_or(0);
    let first = bars.first().map_or(DateTime::UNIX_EPOCH, |bar| bar.at);
    let end = bars.last().map_or(first, |bar| bar.at) + period;
    let plot = Plot::new(scale::counts(largest, 4), (first, end), 6);
    let space = plot.x(first + period) - plot.x(first);
    // A gap between bars, unless they are too narrow for one.
    let width = if space > 4.0 { space - 1.5 } else { space };
    let drawing = html! {
        @for bar in bars.iter().filter(|bar| bar.total() > 0) {
            g {
                title { (bar.at.format("%H:%M")) ": " (in_words(series, bar)) }
                @for part in parts(&plot, bar) {
                    rect.bar.(series.get(part.nth).map_or("s1", |series| series.class))
                        x=(number(plot.x(bar.at) + (space - width) / 2.0))
                        y=(number(part.y)) width=(number(width)) height=(number(part.height)) {}
                }
            }
        }
    };
    Figure {
        id,
        title,
        description: format!("{title}: {}.", totals(series, bars)),
        legend: legend(series),
        plot,
        drawing,
        table: counts_table(title, series, bars),
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

fn parts(plot: &Plot, bar: &Bar) -> impl Iterator<Item = Part> {
    let mut below = 0.0;
    bar.counts
        .iter()
        .enumerate()
        .filter_map(move |(nth, count)| {
            let from = below;
            // Capped like the bar's total, which saturates.
            below = (below + *count as f64).min(u64::MAX as f64);
            let y = plot.y(below);
            let height = plot.y(from) - y;
            (*count > 0).then_some(Part { nth, y, height })
        })
}

/// Such as `3 Finished, 1 Failed`.
fn in_words(series: &[Series], bar: &Bar) -> String {
    let counted = series.iter().zip(&bar.counts).filter(|(_, n)| **n > 0);
    let counted: Vec<String> = counted.map(|(of, n)| format!("{n} {}", of.name)).collect();
    counted.join(", ")
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
        _ => in_words(series, &all),
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

/// The periods in which something was counted, the latest first.
fn counts_table(title: &str, series: &[Series], bars: &[Bar]) -> Markup {
    let mut heads = vec!["Minute"];
    heads.extend(series.iter().map(|series| series.name));
    let counted = bars.iter().rev().filter(|bar| bar.total() > 0);
    table(title, &heads, counted, |bar| {
        let mut cells = vec![time::plain(bar.at)];
        cells.extend(bar.counts.iter().map(digits::show));
        cells
    })
}

#[cfg(test)]
mod tests {
    use super::super::plot::{BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH};
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

    /// The values of an attribute of all rectangles in bars.
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
    fn parts_are_stacked_and_as_high_as_their_counts() {
        let svg = drawn(&[[3, 1], [0, 0], [0, 2]]);
        let heights = of_bars(&svg, "height");
        let tops = of_bars(&svg, "y");
        assert_eq!(heights.len(), 3, "zero counts are not drawn: {svg}");
        let unit = (HEIGHT - BOTTOM - TOP) / 4.0;
        assert_eq!(heights, [3.0 * unit, unit, 2.0 * unit]);
        assert_eq!(tops[0] + heights[0], HEIGHT - BOTTOM);
        assert_eq!(tops[1] + heights[1], tops[0]);
        assert_eq!(tops[2] + heights[2], HEIGHT - BOTTOM);
    }

    #[test]
    fn bars_stay_inside_the_plot_for_any_counts() {
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
    fn text_and_a_table_repeat_the_chart() {
        let svg = drawn(&[[3, 1], [0, 0], [0, 2]]);
        for part in [
            "<title id=\"x-title\">Attempts</title>",
            "<desc id=\"x-desc\">Attempts: 3 Finished, 3 Failed.</desc>",
            "aria-labelledby=\"x-title\"",
            "<title>22:14: 3 Finished, 1 Failed</title>",
            "Show as a table",
        ] {
            assert!(svg.contains(part), "no {part} in {svg}");
        }
        assert!(drawn(&[]).contains("Attempts: none."));
        assert!(!svg.contains("style="), "the policy forbids inline styles");
    }
}
