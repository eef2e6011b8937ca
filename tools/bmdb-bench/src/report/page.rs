//! Report files: JSON, charts, and a page of Markdown that shows them.

use super::row::shown;
use super::{Report, cores};
use bmdb_shell::{Done, Failure};
use std::fs;
use std::path::Path;

impl Report {
    /// Writes the report's files into a folder.
    pub(crate) fn write(&self, folder: &Path) -> Done {
        let loads = self.loads();
        let json = serde_json::to_string_pretty(&self.as_json(&loads)).map_err(Failure::check)?;
        let mut files = vec![
            (format!("{}.json", self.name), json + "\n"),
            ("report.md".to_owned(), of(self, &loads)),
        ];
        for chart in &self.charts {
            files.push((chart.file(), chart.draw().map_err(Failure::check)?));
        }
        let failed = |error| Failure::check(format!("{}: {error}", folder.display()));
        fs::create_dir_all(folder).map_err(failed)?;
        for (name, text) in files {
            fs::write(folder.join(name), text).map_err(failed)?;
        }
        eprintln!("written to {}", folder.display());
        Ok(())
    }
}

fn of(report: &Report, loads: &[String; 2]) -> String {
    let [before, after] = loads;
    let mut lines = vec![
        format!("# Measured: {}", report.name),
        String::new(),
        format!("Written by `cargo xtask bench`. {}.", report.on),
        String::new(),
        "| the machine | |".to_owned(),
        "|---|---|".to_owned(),
        format!("| cores | {} |", cores()),
        format!("| load average, before and after | {before}, {after} |"),
    ];
    for (what, is) in &report.machine {
        lines.push(format!("| {what} | {} |", cell(is)));
    }
    for chart in &report.charts {
        lines.push(String::new());
        lines.push(format!("![{}]({})", chart.title, chart.file()));
    }
    lines.extend(
        [
            "",
            "| | unit | median | p95 | min–max | n | targets |",
            "|---|---|---:|---:|---:|---:|---|",
        ]
        .map(str::to_owned),
    );
    for row in &report.rows {
        let (median, p95) = (shown(row.median()), shown(row.p95()));
        lines.push(format!(
            "| {} | {} | {median} | {p95} | {} | {} | {} |",
            cell(row.name.trim()),
            row.unit,
            row.range(),
            row.samples.len(),
            row.judged()
        ));
    }
    let ratios = report.ratios.iter();
    lines.extend(list(ratios.map(|(name, value)| {
        format!("ratio of medians, {name} = {value:.2}")
    })));
    let limits = report.rows.iter().filter_map(|row| {
        let limit = row.missed_because()?;
        Some(format!("**{}** is missed: {limit}", row.name.trim()))
    });
    lines.extend(list(limits));
    for table in &report.tables {
        lines.extend([String::new(), format!("## {}", table.title), String::new()]);
        lines.push(format!("| | {} |", table.columns.join(" | ")));
        lines.push(format!("|---|{}", "---:|".repeat(table.columns.len())));
        for (name, values) in &table.rows {
            let values: Vec<String> = values.iter().copied().map(shown).collect();
            lines.push(format!("| {} | {} |", cell(name), values.join(" | ")));
        }
    }
    let not_measured = report.not_measured.iter();
    lines.extend(list(
        not_measured.map(|(name, why)| format!("not measured: {name}: {}", cell(why))),
    ));
    lines.join("\n") + "\n"
}

/// A list after an empty line; nothing if it has no items.
fn list(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut items: Vec<String> = items.map(|item| format!("- {item}")).collect();
    if !items.is_empty() {
        items.insert(0, String::new());
    }
    items
}

/// The text of a cell, without the characters that end one.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
