//! What a benchmark has measured, as a table or as JSON.

use serde_json::{Value, json};
use std::fs;
use std::thread::available_parallelism;

/// What was measured several times.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// At least one.
    pub(crate) samples: Vec<f64>,
    pub(crate) targets: Vec<Target>,
}

/// What was promised of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    MedianAtMost(f64),
    P95AtMost(f64),
    MedianAtLeast(f64),
}

/// Everything that one run has measured.
#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    /// What it was measured on.
    on: String,
    load_before: Option<String>,
    rows: Vec<Row>,
    ratios: Vec<(String, f64)>,
    not_measured: Vec<(String, String)>,
    remarks: Vec<String>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, samples: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            unit,
            samples,
            targets: Vec::new(),
        }
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    pub(crate) fn median(&self) -> f64 {
        percentile(&self.samples, 50)
    }

    fn p95(&self) -> f64 {
        percentile(&self.samples, 95)
    }

    fn least(&self) -> f64 {
        percentile(&self.samples, 0)
    }

    fn most(&self) -> f64 {
        percentile(&self.samples, 100)
    }

    fn verdicts(&self) -> impl Iterator<Item = (String, bool)> {
        self.targets.iter().map(|target| match *target {
            Target::MedianAtMost(most) => (format!("median ≤ {most}"), self.median() <= most),
            Target::P95AtMost(most) => (format!("p95 ≤ {most}"), self.p95() <= most),
            Target::MedianAtLeast(least) => (format!("median ≥ {least}"), self.median() >= least),
        })
    }

    fn as_json(&self) -> Value {
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
        })
    }
}

impl Report {
    pub(crate) fn new(name: &'static str, on: String) -> Self {
        Self {
            name,
            on,
            load_before: load(),
            rows: Vec::new(),
            ratios: Vec::new(),
            not_measured: Vec::new(),
            remarks: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// How many times the median of `above` is that of `below`.
    pub(crate) fn ratio(&mut self, above: &Row, below: &Row) {
        let name = format!("{} : {}", above.name.trim(), below.name.trim());
        self.ratios.push((name, above.median() / below.median()));
    }

    pub(crate) fn not_measured(&mut self, name: impl Into<String>, why: impl ToString) {
        self.not_measured.push((name.into(), why.to_string()));
    }

    pub(crate) fn remark(&mut self, remark: String) {
        self.remarks.push(remark);
    }

    pub(crate) fn print(&self, json: bool) {
        let loads = [self.load_before.clone(), load()].map(|load| load.unwrap_or("unknown".into()));
        for line in self.lines(&loads) {
            if json {
                eprintln!("{line}");
            } else {
                println!("{line}");
            }
        }
        if json {
            println!("{}", self.as_json(&loads));
        }
    }

    fn lines(&self, loads: &[String; 2]) -> Vec<String> {
        let names = self.rows.iter().map(|row| row.name.chars().count());
        let wide = names.max().unwrap_or_default();
        let [before, after] = loads;
        let mut lines = vec![
            format!(
                "{}, {} cores, load average {before} before and {after} after",
                self.on,
                cores()
            ),
            format!(
                "{:wide$}       {:>9} {:>9} {:>19} {:>5}  targets",
                "", "median", "p95", "min–max", "n"
            ),
        ];
        for row in &self.rows {
            let range = format!("{}–{}", shown(row.least()), shown(row.most()));
            let verdicts: Vec<String> = row
                .verdicts()
                .map(|(target, holds)| {
                    format!("{target}: {}", if holds { "holds" } else { "MISSED" })
                })
                .collect();
            let line = format!(
                "{:wide$}  {:>3}  {:>9} {:>9} {range:>19} {:>5}  {}",
                row.name,
                row.unit,
                shown(row.median()),
                shown(row.p95()),
                row.samples.len(),
                verdicts.join(", ")
            );
            lines.push(line.trim_end().to_owned());
        }
        for (name, value) in &self.ratios {
            lines.push(format!("ratio of medians, {name} = {value:.2}"));
        }
        for (name, why) in &self.not_measured {
            lines.push(format!("not measured: {name}: {why}"));
        }
        lines.extend(self.remarks.iter().cloned());
        lines
    }

    fn as_json(&self, loads: &[String; 2]) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::as_json).collect();
        let ratios: Vec<Value> = self
            .ratios
            .iter()
            .map(|(name, value)| json!({"name": name, "value": rounded(*value)}))
            .collect();
        let not_measured: Vec<Value> = self
            .not_measured
            .iter()
            .map(|(name, why)| json!({"name": name, "why": why}))
            .collect();
        json!({
            "bench": self.name,
            "on": self.on,
            "cores": cores(),
            "load_average": loads,
            "all_targets_hold": self.rows.iter().flat_map(Row::verdicts).all(|(_, holds)| holds),
            "rows": rows,
            "ratios": ratios,
            "not_measured": not_measured,
            "remarks": self.remarks,
        })
    }
}

/// By the nearest rank, so that it is a value that was measured.
fn percentile(samples: &[f64], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

fn shown(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// How many processes wanted a core in the last minute; nothing where the system does not tell.
fn load() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next().map(str::to_owned)
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
            .target(Target::MedianAtLeast(2.5));
        let verdicts: Vec<(String, bool)> = row.verdicts().collect();
        assert_eq!(
            verdicts,
            [
                ("median ≤ 2".to_owned(), true),
                ("p95 ≤ 8.9".to_owned(), false),
                ("median ≥ 2.5".to_owned(), false),
            ]
        );
    }
}
