//! Charts: drawn by the server as SVG, and written as tables for those who do not see them.
//!
//! Everything is a pure function of its values. Colours and sizes of text are classes of the
//! stylesheet, for no page may carry styles of its own.

mod intervals;
mod scale;
mod stacked;

pub(crate) use intervals::{Interval, intervals};
pub(crate) use stacked::{Bar, Series, stacked};

use maud::{Markup, html};
use scale::{Scale, Tick};

/// The drawing's own units; it is as wide as the page has room.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
/// Room for the labels of the axes, also where the text is large because the screen is small.
const LEFT: f64 = 92.0;
const RIGHT: f64 = 34.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 40.0;

/// What every chart has: words, and the same numbers as a table.
struct Figure<'a> {
    /// Unlike that of any other chart on the page.
    id: &'a str,
    title: &'a str,
    /// What is to be seen, in a sentence.
    description: &'a str,
    legend: Markup,
    drawing: Markup,
    table: Markup,
}

impl Figure<'_> {
    fn render(&self) -> Markup {
        let (title, description) = (format!("{}-title", self.id), format!("{}-desc", self.id));
        html! {
            figure.figure {
                figcaption { (self.title) (self.legend) }
                svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img"
                    aria-labelledby=(title) aria-describedby=(description) {
                    title id=(title) { (self.title) }
                    desc id=(description) { (self.description) }
                    (self.drawing)
                }
                details { summary { "The same as a table" } (self.table) }
            }
        }
    }
}

/// The vertical axis at the left, with a line across for each tick.
fn vertical_axis(scale: &Scale, ticks: &[Tick]) -> Markup {
    html! {
        @for tick in ticks {
            @let y = scale.place(tick.at);
            line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(number(y)) y2=(number(y)) {}
            text x=(LEFT - 8.0) y=(number(y)) text-anchor="end" dominant-baseline="middle" { (tick.label) }
        }
    }
}

/// The horizontal axis at the bottom.
fn horizontal_axis(scale: &Scale, ticks: &[Tick]) -> Markup {
    let bottom = HEIGHT - BOTTOM;
    html! {
        line.axis x1=(LEFT) x2=(WIDTH - RIGHT) y1=(bottom) y2=(bottom) {}
        @for tick in ticks {
            @let x = number(scale.place(tick.at));
            line.axis x1=(x) x2=(x) y1=(bottom) y2=(bottom + 5.0) {}
            text x=(x) y=(bottom + 10.0) text-anchor="middle" dominant-baseline="hanging" { (tick.label) }
        }
    }
}

/// A coordinate, to a tenth of a unit.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn coordinates_are_no_longer_than_they_need_to_be() {
        assert_eq!(number(12.0), "12");
        assert_eq!(number(12.345), "12.3");
    }
}
