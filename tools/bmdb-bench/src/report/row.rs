//! Row: the samples of one measurement, and its targets.

use serde_json::{Value, json};

/// The samples of one measurement.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// At least one sample.
    pub(crate) samples: Vec<f64>,
    pub(crate) targets: Vec<Target>,
    /// The bottleneck. It is printed if a target is missed.
    limit: Option<String>,
}

/// A promised limit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    MedianAtMost(f64),
    P95AtMost(f64),
    MostAtMost(f64),
    MedianAtLeast(f64),
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, samples: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            unit,
            samples,
            targets: Vec::new(),
            limit: None,
        }
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Sets the bottleneck.
    pub(crate) fn limited_by(mut self, limit: impl ToString) -> Self {
        self.limit = Some(limit.to_string());
        self
    }

    /// The bottleneck, if a target is missed and it is known.
    pub(super) fn missed_because(&self) -> Option<&str> {
        let missed = self.verdicts().any(|(_, holds)| !holds);
        self.limit.as_deref().filter(|_| missed)
    }

    pub(super) fn range(&self) -> String {
        format!("{}–{}", shown(self.least()), shown(self.most()))
    }

    pub(super) fn judged(&self) -> String {
        let verdicts = self
            .verdicts()
            .map(|(target, holds)| format!("{target}: {}", if holds { "holds" } else { "MISSED" }));
        verdicts.collect::<Vec<String>>().join(", ")
    }

    pub(crate) fn median(&self) -> f64 {
        percentile(&self.samples, 50)
    }

    pub(super) fn p95(&self) -> f64 {
        percentile(&self.samples, 95)
    }

    pub(super) fn least(&self) -> f64 {
        percentile(&self.samples, 0)
    }

    pub(super) fn most(&self) -> f64 {
        percentile(&self.samples, 100)
    }

    pub(super) fn verdicts(&self) -> impl Iterator<Item = (String, bool)> {
        self.targets.iter().map(|target| match *target {
            Target::MedianAtMost(most) => (format!("median ≤ {most}"), self.median() <= most),
            Target::P95AtMost(most) => (format!("p95 ≤ {most}"), self.p95() <= most),
            Target::MostAtMost(most) => (format!("max ≤ {most}"), self.most() <= most),
            Target::MedianAtLeast(least) => (format!("median ≥ {least}"), self.median() >= least),
        })
    }

    pub(super) fn as_json(&self) -> Value {
        let targets: Vec<Value> = self
            .verdicts()
            .map(|(target, holds)| json!({"target": target, "holds": holds}))
            .collect();
        json!({
            "name": self.name,
            "unit": self.unit,
            "median": rounded(self.median()),
            "p95": rounded(self.p95()),
            "min": rounded(self.least()),
            "max": rounded(self.most()),
            "n": self.samples.len(),
            "targets": targets,
            "missed_because": self.missed_because(),
        })
    }
}

/// The percentile by nearest rank, so that it is one of the samples.
fn percentile(samples: &[f64], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

pub(super) fn shown(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::{Row, Target, percentile};

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (percent, expected) in [(0, 1.0), (50, 50.0), (95, 95.0), (100, 100.0)] {
            assert_eq!(percentile(&samples, percent), expected);
        }
        assert_eq!(percentile(&[7.0], 95), 7.0);
        assert_eq!(percentile(&[1.0, 2.0, 3.0], 50), 2.0);
    }

    #[test]
    fn a_target_holds_up_to_its_bound() {
        let row = Row::new("x", "ms", vec![1.0, 2.0, 9.0])
            .target(Target::MedianAtMost(2.0))
            .target(Target::P95AtMost(8.9))
            .target(Target::MostAtMost(9.0))
            .target(Target::MedianAtLeast(2.5));
        let verdicts: Vec<(String, bool)> = row.verdicts().collect();
        assert_eq!(
            verdicts,
            [
                ("median ≤ 2".to_owned(), true),
                ("p95 ≤ 8.9".to_owned(), false),
                ("max ≤ 9".to_owned(), true),
                ("median ≥ 2.5".to_owned(), false),
            ]
        );
    }
}
