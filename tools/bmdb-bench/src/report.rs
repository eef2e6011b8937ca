//! Report of a benchmark: a table on the terminal, JSON, and files.

mod chart;
mod cores;
mod page;
mod row;

pub(crate) use chart::{Chart, Line};
pub(crate) use cores::cores;
pub(crate) use row::{Row, Target};

use row::{rounded, shown};
use serde_json::{Value, json};
use std::fs;

/// All measurements of one run.
#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    /// The server and the kind of build.
    on: String,
    /// The machine's properties.
    machine: Vec<(&'static str, String)>,
    load_before: Option<String>,
    rows: Vec<Row>,
    ratios: Vec<(String, f64)>,
    tables: Vec<Table>,
    charts: Vec<Chart>,
    not_measured: Vec<(String, String)>,
}

/// A table of related numbers.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) columns: Vec<&'static str>,
    /// Each with its name.
    pub(crate) rows: Vec<(String, Vec<f64>)>,
}

impl Report {
    pub(crate) fn new(name: &'static str, on: String) -> Self {
        Self {
            name,
            on,
            machine: Vec::new(),
            load_before: load(),
            rows: Vec::new(),
            ratios: Vec::new(),
            tables: Vec::new(),
            charts: Vec::new(),
            not_measured: Vec::new(),
        }
    }

    pub(crate) fn machine(&mut self, what: &'static str, is: impl ToString) {
        self.machine.push((what, is.to_string()));
    }

    /// What was measured on, as one sentence.
    pub(crate) fn described(&self) -> String {
        let [before, after] = self.loads();
        let machine = self
            .machine
            .iter()
            .map(|(what, is)| format!("; {what}: {is}"));
        format!(
            "{}, {} cores, load average {before} before and {after} after{}.",
            self.on,
            cores(),
            machine.collect::<String>()
        )
    }

    pub(crate) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds the ratio of the medians of `above` and `below`.
    pub(crate) fn ratio(&mut self, above: &Row, below: &Row) {
        let name = format!("{} : {}", above.name.trim(), below.name.trim());
        self.ratios.push((name, above.median() / below.median()));
    }

    pub(crate) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    pub(crate) fn chart(&mut self, chart: Chart) {
        self.charts.push(chart);
    }

    pub(crate) fn not_measured(&mut self, name: impl Into<String>, why: impl ToString) {
        self.not_measured.push((name.into(), why.to_string()));
    }

    pub(crate) fn print(&self, json: bool) {
        let loads = self.loads();
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

    pub(super) fn loads(&self) -> [String; 2] {
        [self.load_before.clone(), load()].map(|load| load.unwrap_or("unknown".into()))
    }

    fn lines(&self, loads: &[String; 2]) -> Vec<String> {
        let names = self.rows.iter().map(|row| row.name.chars().count());
        let wide = names.max().unwrap_or_default();
        let [before, after] = loads;
        let mut lines = vec![format!(
            "{}, {} cores, load average {before} before and {after} after",
            self.on,
            cores()
        )];
        for (what, is) in &self.machine {
            lines.push(format!("{what}: {is}"));
        }
        lines.push(format!(
            "{:wide$}       {:>9} {:>9} {:>19} {:>5}  targets",
            "", "median", "p95", "min–max", "n"
        ));
        for row in &self.rows {
            let line = format!(
                "{:wide$}  {:>3}  {:>9} {:>9} {:>19} {:>5}  {}",
                row.name,
                row.unit,
                shown(row.median()),
                shown(row.p95()),
                row.range(),
                row.samples.len(),
                row.judged()
            );
            lines.push(line.trim_end().to_owned());
            lines.extend(row.missed_because().map(|limit| format!("    {limit}")));
        }
        for (name, value) in &self.ratios {
            lines.push(format!("ratio of medians, {name} = {value:.2}"));
        }
        for table in &self.tables {
            lines.extend(table.lines());
        }
        for (name, why) in &self.not_measured {
            lines.push(format!("not measured: {name}: {why}"));
        }
        lines
    }

    pub(super) fn as_json(&self, loads: &[String; 2]) -> Value {
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
        let machine: Vec<Value> = self
            .machine
            .iter()
            .map(|(what, is)| json!({"what": what, "is": is}))
            .collect();
        json!({
            "bench": self.name,
            "on": self.on,
            "cores": cores(),
            "machine": machine,
            "load_average": loads,
            "all_targets_hold": self.rows.iter().flat_map(Row::verdicts).all(|(_, holds)| holds),
            "rows": rows,
            "ratios": ratios,
            "tables": self.tables.iter().map(Table::as_json).collect::<Vec<Value>>(),
            "not_measured": not_measured,
        })
    }
}

impl Table {
    fn lines(&self) -> Vec<String> {
        let names = self.rows.iter().map(|(name, _)| name.chars().count());
        let wide = names.max().unwrap_or_default();
        let column = |text: &str, title: &str| {
            let width = title.chars().count().max(9) + 2;
            format!("{text:>width$}")
        };
        let titles: String = self.columns.iter().map(|c| column(c, c)).collect();
        let mut lines = vec![self.title.to_owned(), format!("{:wide$}{titles}", "")];
        for (name, values) in &self.rows {
            let values = values.iter().zip(&self.columns);
            let values: String = values.map(|(v, title)| column(&shown(*v), title)).collect();
            lines.push(format!("{name:wide$}{values}"));
        }
        lines
    }

    fn as_json(&self) -> Value {
        let rows = self.rows.iter().map(|(name, values)| {
            let values: Vec<f64> = values.iter().copied().map(rounded).collect();
            json!({"of": name, "values": values})
        });
        json!({"title": self.title, "columns": self.columns, "rows": rows.collect::<Vec<_>>()})
    }
}

/// The load average of the last minute; `None` if the system does not report it.
fn load() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next().map(str::to_owned)
}
