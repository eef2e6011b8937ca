//! Chart of measurements, as SVG.

use plotters::prelude::*;

/// Lines over a logarithmic axis, such as numbers of workers or machines.
#[derive(Debug)]
pub(crate) struct Chart {
    /// The file's name without its extension.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// The measurements of one series.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// One value per point of the axis.
    pub(crate) points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (860, 480);

/// Colours that colour-blind readers can distinguish on white. The chart draws its own background,
/// because the page may be dark.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(90, 90, 90),
];

const INK: RGBColor = RGBColor(40, 40, 40);

impl Chart {
    pub(super) fn file(&self) -> String {
        format!("{}.svg", self.name)
    }

    /// Draws the chart.
    pub(super) fn draw(&self) -> Result<String, String> {
        let mut svg = String::new();
        self.draw_into(&mut svg)
            .map_err(|error| error.to_string())?;
        // Browsers show the title as a tooltip, and screen readers read it.
        let title = format!("<title>{}</title>\n", escaped(self.title));
        let after = svg
            .find("<svg")
            .and_then(|at| Some(at + svg[at..].find('>')? + 1));
        if let Some(after) = after {
            svg.insert_str(after, &format!("\n{title}"));
        }
        Ok(svg)
    }

    fn draw_into(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error + '_>> {
        let points = || {
            self.lines
                .iter()
                .flat_map(|line| line.points.iter().copied())
        };
        let mut places: Vec<f64> = points().map(|(x, _)| x).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let (Some(&least), Some(&most)) = (places.first(), places.last()) else {
            return Err("a chart of nothing".into());
        };
        let highest = points().map(|(_, y)| y).fold(0.0, f64::max);

        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let font = |size: u32| ("sans-serif", size).into_font().color(&INK);
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, font(19))
            .margin(16)
            .margin_right(40)
            .x_label_area_size(48)
            .y_label_area_size(80)
            .build_cartesian_2d(
                (least / 1.1..most * 1.1)
                    .log_scale()
                    .with_key_points(places),
                // The legend needs the space above the lines.
                0.0..highest * 1.45,
            )?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .axis_desc_style(font(15))
            .label_style(font(13))
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .axis_style(INK)
            .x_label_formatter(&|x| grouped(*x))
            .y_label_formatter(&|y| grouped(*y))
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let style = colour.stroke_width(3);
            let points = line.points.iter().copied();
            chart
                .draw_series(LineSeries::new(points.clone(), style).point_size(4))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .border_style(RGBColor(200, 200, 200))
            .label_font(font(14))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// A whole number with grouped thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{Chart, Line, grouped};

    #[test]
    fn a_chart_has_its_title_its_axes_and_a_label_for_every_line() {
        let line = |name: &str, y| Line {
            name: name.to_owned(),
            points: vec![(1.0, y), (16.0, 2.0 * y), (64.0, 3.0 * y)],
        };
        let chart = Chart {
            name: "x",
            title: "Fast & <slow>",
            x: "workers",
            y: "cycles per second",
            lines: vec![line("ours", 1000.0), line("pg<bench>", 900.0)],
        };
        let svg = chart.draw().unwrap();
        assert!(
            svg.contains("<title>Fast &amp; &lt;slow&gt;</title>"),
            "{svg}"
        );
        for text in ["workers", "cycles per second", "ours", "pg&lt;bench&gt;"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(!svg.contains("<slow>"), "{svg}");
        let thick = svg.matches("stroke-width=\"3\" points").count();
        assert_eq!(thick, 4, "lines and their legends: {svg}");
    }

    #[test]
    fn thousands_stand_apart() {
        let shown = [7.0, 999.0, 1000.0, 1_234_567.0].map(grouped);
        assert_eq!(
            shown,
            ["7", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
    }
}
