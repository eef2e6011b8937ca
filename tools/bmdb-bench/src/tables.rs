//! Tables for the documents, from the numbers of a run.

use bmdb_shell::{Done, Failure, root};
use serde_json::Value;
use std::path::PathBuf;

/// Print the tables of docs/scaling.md and docs/comparison.md in Markdown, from the numbers of the last
/// complete run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The numbers. Default: docs/bench/claims.json.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// A table of medians. In the names of rows, `{}` is the end that belongs to the table's row.
struct Grid {
    title: &'static str,
    first: &'static str,
    /// Each with its end of the names.
    rows: &'static [(&'static str, &'static str)],
    columns: &'static [(&'static str, &'static str)],
}

const AT_ONCE: [(&str, &str); 4] = [
    ("1", "1 at once"),
    ("16", "16 at once"),
    ("64", "64 at once"),
    ("200", "200 at once"),
];

const WORKERS: [(&str, &str); 4] = [
    ("1", "1 worker"),
    ("4", "4 workers"),
    ("16", "16 workers"),
    ("64", "64 workers"),
];

const GRIDS: [Grid; 6] = [
    Grid {
        title: "Machines per second that are claimed and finished with a write",
        first: "machines at once",
        rows: &AT_ONCE,
        columns: &[
            (
                "two bare statements",
                "success: two bare statements, pgbench, {}",
            ),
            (
                "pgbench, same statements",
                "success: the same statements, pgbench, {}",
            ),
            ("by hand, typed write", "success: typed write, by hand, {}"),
            ("runner, typed write", "success: typed write, runner, {}"),
            ("runner, closure", "success: closure, runner, {}"),
        ],
    },
    Grid {
        title: "The same in batches by hand",
        first: "machines in a batch, tasks",
        rows: &[
            ("100, 1", "batches of 100, 1 at once"),
            ("500, 1", "batches of 500, 1 at once"),
            ("100, 4", "batches of 100, 4 at once"),
            ("500, 4", "batches of 500, 4 at once"),
        ],
        columns: &[
            (
                "two bare statements",
                "success: two bare statements, pgbench, {}",
            ),
            (
                "pgbench, same statements",
                "success: the same statements, pgbench, {}",
            ),
            ("typed writes", "success: typed write, by hand, {}"),
        ],
    },
    Grid {
        title: "Machines per second that fail once and then succeed",
        first: "machines at once",
        rows: &[("16", "failed once, then finished, 16 at once")],
        columns: &[
            (
                "pgbench, same statements",
                "the same statements, pgbench, {}",
            ),
            ("runner", "runner, {}"),
        ],
    },
    Grid {
        title: "What a success costs in a quiet database, per machine",
        first: "",
        rows: &[
            ("alone, typed write", "success, typed write"),
            ("alone, closure", "success, closure"),
            ("in a batch of 100", "success, typed writes, batch of 100"),
        ],
        columns: &[
            ("statements", "{}: statements per machine"),
            ("planning, µs", "{}: planning per machine"),
            ("execution, µs", "{}: execution per machine"),
            ("index entries", "{}: index entries per machine"),
            ("WAL, B", "{}: WAL per machine"),
            ("pages written to", "{}: pages written to per machine"),
        ],
    },
    Grid {
        title: "Machines per second that are claimed and failed, each on its own",
        first: "workers",
        rows: &WORKERS,
        columns: &[
            ("pgbench, same statements", "pgbench, {}"),
            ("each claims for itself", "each claims for itself, {}"),
            ("one loop claims for all", "one loop claims for all, {}"),
        ],
    },
    Grid {
        title: "The same in batches by hand",
        first: "machines in a batch",
        rows: &[
            ("1", "batches of 1"),
            ("10", "batches of 10"),
            ("100", "batches of 100"),
            ("500", "batches of 500"),
        ],
        columns: &[
            ("1 at once", "ours, {}, 1 at once"),
            ("4 at once", "ours, {}, 4 at once"),
        ],
    },
];

pub(crate) fn run(args: &Args) -> Done {
    let usual = || root().join("docs/bench/claims.json");
    let file = args.from.clone().unwrap_or_else(usual);
    let wrong = |why: String| Failure::check(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
    let numbers: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    for grid in &GRIDS {
        println!("{}\n", grid.print(&numbers));
    }
    Ok(())
}

impl Grid {
    fn print(&self, numbers: &Value) -> String {
        let headings: Vec<&str> = self.columns.iter().map(|(heading, _)| *heading).collect();
        let mut lines = vec![
            format!("{}:\n", self.title),
            format!("| {} | {} |", self.first, headings.join(" | ")),
            format!("|{}", "---:|".repeat(headings.len() + 1)),
        ];
        for (label, end) in self.rows {
            let medians = self.columns.iter();
            let medians = medians.map(|(_, name)| median(numbers, &name.replace("{}", end)));
            let medians: Vec<String> = medians.collect();
            lines.push(format!("| {label} | {} |", medians.join(" | ")));
        }
        lines.join("\n")
    }
}

/// The median of a row with its thousands grouped; a dash if the row was not measured.
fn median(numbers: &Value, name: &str) -> String {
    let rows = numbers["rows"].as_array().into_iter().flatten();
    let row = rows.into_iter().find(|row| row["name"] == name);
    row.and_then(|row| row["median"].as_f64())
        .map_or_else(|| "–".to_owned(), grouped)
}

fn grouped(value: f64) -> String {
    if value < 100.0 {
        let shown = format!("{value:.1}");
        return shown.trim_end_matches(".0").to_owned();
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::{GRIDS, grouped};
    use serde_json::json;

    #[test]
    fn a_table_shows_medians_and_what_was_not_measured() {
        let numbers = json!({"rows": [
            {"name": "ours, batches of 100, 1 at once", "median": 11923.6},
        ]});
        let table = GRIDS.last().unwrap().print(&numbers);
        assert!(table.contains("\n| 100 | 11,924 | – |"), "{table}");
    }

    #[test]
    fn thousands_are_grouped() {
        let shown = [7.0, 7.25, 999.0, 1000.0, 1_234_567.4].map(grouped);
        assert_eq!(shown, ["7", "7.2", "999", "1,000", "1,234,567"]);
    }
}
