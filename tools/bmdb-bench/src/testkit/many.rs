//! Many test processes that begin at once, none of which finds a server.

use super::bench::Bench;
use crate::report::{Row, Target};
use bmdb_shell::{Done, Failure, as_typed, cargo, succeeds};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the runner is to find in `bmdb-testkit/tests/many.rs`.
const TESTS: &str = "64";

pub(super) fn measure(bench: &mut Bench) -> Done {
    let n = bench.samples(5);
    let nextest = succeeds(&mut cargo(["nextest", "--version"]));
    let command = || {
        if nextest {
            let run = ["nextest", "run", "-p", "bmdb-testkit", "--test", "many"];
            let mut command = cargo(run);
            command.args(["--test-threads", "8"]);
            command
        } else {
            cargo(["test", "-p", "bmdb-testkit", "--test", "many"])
        }
    };
    eprintln!("many: building, then {n} runs of {}", as_typed(&command()));
    said(command().arg("--no-run"))?;
    let (mut summaries, mut walls) = (Vec::new(), Vec::new());
    for _ in 0..n {
        // The last run's server stays for a second.
        if !wait_until_empty(&bench.folder) {
            return Err(Failure::check("the server of the last run does not end"));
        }
        let began = Instant::now();
        let said = said(&mut if nextest {
            command()
        } else {
            let mut command = command();
            command.args(["--", "--test-threads", "8"]);
            command
        })?;
        walls.push(began.elapsed().as_secs_f64());
        let summary = if nextest {
            by_nextest(&said)
        } else {
            by_libtest(&said)
        };
        let not_found = || Failure::check(format!("no summary of {TESTS} tests in:\n{said}"));
        summaries.push(summary.ok_or_else(not_found)?);
    }
    let name = if nextest {
        "64 tests by nextest, its own time"
    } else {
        bench
            .report
            .not_measured("64 test processes", "cargo-nextest is not installed");
        "64 tests by cargo test, its own time"
    };
    let summary = Row::new(name, "s", summaries).target(Target::MedianAtMost(1.5));
    bench.report.row(summary);
    bench
        .report
        .row(Row::new("  the whole command", "s", walls));
    Ok(())
}

/// Whether the folder holds no server within some seconds.
pub(super) fn wait_until_empty(folder: &Path) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none()) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// All that a command says, if it succeeds.
fn said(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .stdin(Stdio::null())
        .env_remove("BMDB_TESTKIT_LINGER")
        .output()
        .map_err(Failure::check)?;
    let text =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    let text = text.concat();
    if output.status.success() {
        return Ok(text);
    }
    let typed = as_typed(command);
    Err(Failure::check(format!(
        "{typed}: {}\n{text}",
        output.status
    )))
}

/// Reads `     Summary [   1.234s] 64 tests run: 64 passed, 0 skipped`.
fn by_nextest(said: &str) -> Option<f64> {
    let (time, tests) = said.split_once("Summary [")?.1.split_once("s] ")?;
    tests
        .starts_with(&format!("{TESTS} tests run: {TESTS} passed"))
        .then_some(())?;
    time.trim().parse().ok()
}

/// Reads `test result: ok. 64 passed; 0 failed; …; finished in 1.23s`.
fn by_libtest(said: &str) -> Option<f64> {
    let result = said
        .split_once(&format!("test result: ok. {TESTS} passed;"))?
        .1;
    let time = result.split_once("finished in ")?.1.lines().next()?;
    time.trim().strip_suffix('s')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{by_libtest, by_nextest};

    #[test]
    fn a_summary_counts_only_if_it_is_of_all_tests() {
        let nextest = "────\n     Summary [   1.234s] 64 tests run: 64 passed, 0 skipped\n";
        assert_eq!(by_nextest(nextest), Some(1.234));
        assert_eq!(by_nextest(&nextest.replace("64", "63")), None);
        let libtest = "test result: ok. 64 passed; 0 failed; 0 ignored; 0 measured; 0 filtered \
                       out; finished in 0.87s\n\n";
        assert_eq!(by_libtest(libtest), Some(0.87));
        assert_eq!(by_libtest(&libtest.replace("64", "1")), None);
    }
}
