//! A gauge, and where its values come from.

use crate::sample::Sample;
use crate::sampler::Latest;
use bmdb_model::counts::ProcessCounts;

/// A gauge.
pub(super) struct Stat {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) values: Values,
}

/// Where the values of a gauge come from. A `None` is left out of the output.
#[derive(Clone, Copy)]
pub(super) enum Values {
    Fleet(fn(&Sample) -> Option<i64>),
    /// One for each process.
    Processes(fn(&Sample, &ProcessCounts) -> Option<i64>),
    /// One for each value of these labels.
    Labeled(&'static [&'static str], fn(&Sample) -> Vec<Line>),
    /// Shown even before the first sample.
    Sampler(fn(&Latest) -> Option<f64>),
}

pub(super) const fn stat(name: &'static str, values: Values, help: &'static str) -> Stat {
    Stat { name, help, values }
}

/// A value with the values of its labels.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) labels: Vec<String>,
    pub(super) value: i64,
}

impl Line {
    /// Names of processes and providers need no escapes: they consist of letters, digits, _ and -.
    pub(super) fn render(&self, name: &str, labels: &[&str]) -> String {
        let pairs = labels.iter().zip(&self.labels);
        let pairs: Vec<String> = pairs
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        format!("{name}{{{}}} {}\n", pairs.join(","), self.value)
    }
}
