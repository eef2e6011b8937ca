//! Plot: the area of a chart, its axes, and the figure around them.

use super::scale::{Scale, Tick, times};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

/// In units of the drawing, which is scaled to the width of the page.
pub(super) const WIDTH: f64 = 720.0;
pub(super) const HEIGHT: f64 = 220.0;
/// Space for the labels of the axes, which are larger on small screens.
pub(super) const LEFT: f64 = 78.0;
pub(super) const RIGHT: f64 = 34.0;
pub(super) const TOP: f64 = 16.0;
pub(super) const BOTTOM: f64 = 36.0;

/// A plot of values over time.
pub(super) struct Plot {
    vertical: Scale,
    vertical_ticks: Vec<Tick>,
    horizontal: Scale,
    horizontal_ticks: Vec<Tick>,
}

impl Plot {
    /// The values go from 0 to the last tick.
    pub(super) fn new(
        value_ticks: Vec<Tick>,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        time_ticks: i64,
    ) -> Self {
        let top = value_ticks.last().map_or(1.0, |tick| tick.at);
        Self {
            vertical: Scale::new((0.0, top), (HEIGHT - BOTTOM, TOP)),
            vertical_ticks: value_ticks,
            horizontal: Scale::new((seconds(from), seconds(to)), (LEFT, WIDTH - RIGHT)),
            horizontal_ticks: times(from, to, time_ticks),
        }
    }

    pub(super) fn x(&self, at: DateTime<Utc>) -> f64 {
        self.horizontal.place(seconds(at))
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        self.vertical.place(value)
    }

    /// The vertical axis at the left, with a line across for each tick.
    fn vertical_axis(&self) -> Markup {
        html! {
            @for tick in &self.vertical_ticks {
                @let y = number(self.vertical.place(tick.at));
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
                text x=(LEFT - 8.0) y=(y) text-anchor="end" dominant-baseline="middle" { (tick.label) }
            }
        }
    }

    fn horizontal_axis(&self) -> Markup {
        let bottom = HEIGHT - BOTTOM;
        html! {
            line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(bottom) y2=(bottom) {}
            @for tick in &self.horizontal_ticks {
                @let x = number(self.horizontal.place(tick.at));
                line.axis x1=(x) x2=(x) y1=(bottom) y2=(bottom + 5.0) {}
                text x=(x) y=(bottom + 10.0) text-anchor="middle" dominant-baseline="hanging" { (tick.label) }
            }
        }
    }
}

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp() as f64
}

/// A chart with its words and its table.
pub(super) struct Figure<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What the chart shows, in a sentence for screen readers.
    pub(super) description: String,
    pub(super) legend: Markup,
    pub(super) plot: Plot,
    pub(super) drawing: Markup,
    pub(super) table: Markup,
}

impl Figure<'_> {
    pub(super) fn render(&self) -> Markup {
        let (title, description) = (format!("{}-title", self.id), format!("{}-desc", self.id));
        html! {
            figure.figure {
                figcaption { (self.title) (self.legend) }
                svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img"
                    aria-labelledby=(title) aria-describedby=(description) {
                    title id=(title) { (self.title) }
                    desc id=(description) { (self.description) }
                    (self.plot.vertical_axis()) (self.plot.horizontal_axis())
                    (self.drawing)
                }
                details { summary { "Show as a table" } (self.table) }
            }
        }
    }
}

/// A coordinate, to a tenth of a unit.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn coordinates_have_at_most_one_decimal() {
        assert_eq!(number(12.0), "12");
        assert_eq!(number(12.345), "12.3");
    }
}
