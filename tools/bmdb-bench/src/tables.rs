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

/// A table of medians. In the names of rows, `{}` is the number at the beginning of the table's row.
struct Grid {
    title: &'static str,
    first: &'static str,
    numbers: &'static [&'static str],
    columns: &'static [(&'static str, &'static str)],
}

const GRIDS: [Grid; 6] = [
    Grid {
        title: "Machines per second that are claimed and finished with a write",
        first: "machines at once",
        numbers: &["1", "16", "64", "200"],
        columns: &[
            (
                "two bare statements",
                "success: two bare statements, pgbench, {} at once",
            ),
            (
                "pgbench, same statements",
                "success: the same statements, pgbench, {} at once",
            ),
            (
                "by hand, typed write",
                "success: typed write, by hand, {} at once",
            ),
            (
                "runner, typed write",
                "success: typed write, runner, {} at once",
            ),
            ("runner, closure", "success: closure, runner, {} at once"),
        ],
    },
    Grid {
        title: "The same in batches by hand, 1 task",
        first: "machines in a batch",
        numbers: &["100", "500"],
        columns: &SUCCESS_BY_ONE,
    },
    Grid {
        title: "The same in batches by hand, 4 tasks",
        first: "machines in a batch",
        numbers: &["100", "500"],
        columns: &SUCCESS_BY_FOUR,
    },
    Grid {
        title: "Machines per second that fail once and then succeed",
        first: "machines at once",
        numbers: &["16"],
        columns: &[
            (
                "pgbench, same statements",
                "the same statements, pgbench, failed once, then finished, {} at once",
            ),
            ("runner", "runner, failed once, then finished, {} at once"),
        ],
    },
    Grid {
        title: "Machines per second that are claimed and failed, each on its own",
        first: "workers",
        numbers: &["1", "4", "16", "64"],
        columns: &[
            ("pgbench, same statements", "pgbench, {} workers"),
            (
                "each claims for itself",
                "each claims for itself, {} workers",
            ),
            (
                "one loop claims for all",
                "one loop claims for all, {} workers",
            ),
        ],
    },
    Grid {
        title: "The same in batches by hand",
        first: "machines in a batch",
        numbers: &["1", "10", "100", "500"],
        columns: &[
            ("1 at once", "ours, batches of {}, 1 at once"),
            ("4 at once", "ours, batches of {}, 4 at once"),
        ],
    },
];

const SUCCESS_BY_ONE: [(&str, &str); 3] = [
    (
        "two bare statements",
        "success: two bare statements, pgbench, batches of {}, 1 at once",
    ),
    (
        "pgbench, same statements",
        "success: the same statements, pgbench, batches of {}, 1 at once",
    ),
    (
        "typed writes",
        "success: typed write, by hand, batches of {}, 1 at once",
    ),
];

const SUCCESS_BY_FOUR: [(&str, &str); 3] = [
    (
        "two bare statements",
        "success: two bare statements, pgbench, batches of {}, 4 at once",
    ),
    (
        "pgbench, same statements",
        "success: the same statements, pgbench, batches of {}, 4 at once",
    ),
    (
        "typed writes",
        "success: typed write, by hand, batches of {}, 4 at once",
    ),
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
        for number in self.numbers {
            let medians = self.columns.iter().map(|(_, name)| {
                // One worker is written in the singular.
                let name = match *number {
                    "1" => name.replace("{} workers", "1 worker"),
                    _ => (*name).to_owned(),
                };
                median(numbers, &name.replace("{}", number))
            });
            let medians: Vec<String> = medians.collect();
            lines.push(format!("| {number} | {} |", medians.join(" | ")));
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
        let shown = [7.0, 999.0, 1000.0, 1_234_567.4].map(grouped);
        assert_eq!(shown, ["7", "999", "1,000", "1,234,567"]);
    }
}
