//! Backoff: time to compute the next interval, beside another crate in the same process.

use super::load::Built;
use crate::report::{Report, Row, Target};
use bmdb_shell::{Done, Failure, as_typed, cargo};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;

/// The benchmark's names.
const STEPS: f64 = 16.0;

/// Each situation with its target in nanoseconds.
const SITUATIONS: [(&str, &str, f64); 2] = [
    ("growing", "growing", 4.6),
    ("at_the_cap", "at the cap", 1.4),
];

/// Target: the share of the other crate's time.
const SHARE: f64 = 0.4;

pub(super) fn measure(report: &mut Report, built: Built) -> Done {
    let folder = std::env::temp_dir().join(format!("bmdb-bench-{}", std::process::id()));
    let mut bench = cargo([
        "bench",
        "--quiet",
        "--package",
        "bmdb-backoff",
        "--bench",
        "next",
    ]);
    match built {
        Built::Optimised => bench.args(["--", "--noplot"]),
        Built::AsForTests => bench.args(["--profile", "dev", "--", "--noplot", "--quick"]),
    };
    bench
        .env("CRITERION_HOME", &folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    eprintln!("$ {}", as_typed(&bench));
    let status = bench.status().map_err(Failure::check)?;
    let printed = if status.success() {
        tell(report, &folder)
    } else {
        Err(Failure::check(format!(
            "the benchmark of the intervals: {status}"
        )))
    };
    // Best effort: the folder is for temporary files.
    let _ = std::fs::remove_dir_all(&folder);
    printed
}

fn tell(report: &mut Report, folder: &Path) -> Done {
    for (name, said, most) in SITUATIONS {
        let (ours, other) = (
            median(folder, name, "bmdb")?,
            median(folder, name, "backon")?,
        );
        let row = Row::new(format!("next interval, {said}"), "ns", vec![ours]);
        report.row(row.target(Target::MedianAtMost(most)));
        report.row(Row::new(format!("  backon's, {said}"), "ns", vec![other]));
        let share = Row::new(
            format!("  share of backon's, {said}"),
            "",
            vec![ours / other],
        );
        report.row(share.target(Target::MedianAtMost(SHARE)));
    }
    Ok(())
}

/// Nanoseconds per interval.
fn median(folder: &Path, group: &str, function: &str) -> Result<f64, Failure> {
    let file = folder.join(group).join(function).join("new/estimates.json");
    let wrong = |why: String| Failure::check(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
    let printed: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let median = printed["median"]["point_estimate"].as_f64();
    Ok(median.ok_or_else(|| wrong("has no median".to_owned()))? / STEPS)
}
