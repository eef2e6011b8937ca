//! Baseline: pgbench runs the same statements and does nothing else.

use super::counters::{Counters, Spent, number};
use bmdb_model::internal::connection::PLAN_ONCE;
use bmdb_model::internal::work::{CLAIM, FAIL};
use bmdb_shell::Failure;
use bmdb_testkit::{Installation, Server, TestDb};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Counts the items that are still claimed after a load.
const HELD: &str = "SELECT count(*) FROM work_item WHERE session_id IS NOT NULL";

/// pgbench with a script that claims machines and fails them.
#[derive(Debug)]
pub(super) struct Baseline {
    pgbench: PathBuf,
    script: PathBuf,
}

/// What one run printed, and what the server counted during it.
#[derive(Debug)]
pub(super) struct Floored {
    pub(super) machines_per_second: f64,
    pub(super) spent: Spent,
}

/// Options of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clients {
    pub(super) clients: u32,
    pub(super) batch: u32,
    pub(super) seconds: u32,
}

impl Baseline {
    /// Writes the script into `folder`. The error says why there is no baseline.
    pub(super) fn new(installation: &Installation, folder: &Path) -> Result<Self, String> {
        let pgbench =
            pgbench(installation).ok_or("the server's programs do not include pgbench")?;
        let script = folder.join("cycle.sql");
        std::fs::write(&script, cycle()?).map_err(|error| error.to_string())?;
        Ok(Self { pgbench, script })
    }

    pub(super) async fn run(
        &self,
        db: &TestDb,
        server: &Server,
        how: Clients,
    ) -> Result<Floored, Failure> {
        let session = db.session(Duration::from_secs(3600)).await;
        let session = session.map_err(Failure::check)?.to_string();
        let all = |value: &str| format!("{{{}}}", vec![value; how.batch as usize].join(","));
        let before = Counters::read(db, server).await?;
        let output = Command::new(&self.pgbench)
            .args(["--no-vacuum", "--protocol=prepared"])
            .arg(format!("--file={}", self.script.display()))
            .arg(format!("--client={}", how.clients))
            .arg(format!("--jobs={}", how.clients.min(2)))
            .arg(format!("--time={}", how.seconds))
            .args(define("process", "ShepherdAgentStart"))
            .args(define("provider", "Equinix"))
            .args(define("session", &session))
            .args(define("limit", &how.batch.to_string()))
            .args(define("ready_at", "-infinity"))
            .args(define("processes", &all("ShepherdAgentStart")))
            .args(define("seconds", &all("1")))
            .args(define("causes", &all("\"no answer\"")))
            .args(define("folds", &all("f")))
            .arg(db.url())
            .env("PGOPTIONS", options())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(Failure::check)?;
        let after = Counters::read(db, server).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let wrong = |why: &str| {
            let errors = String::from_utf8_lossy(&output.stderr);
            Failure::check(format!("pgbench: {why}: {}\n{said}{errors}", output.status))
        };
        if !output.status.success() {
            return Err(wrong("failed"));
        }
        let printed = Printed::read(&said).ok_or_else(|| wrong("did not tell what it did"))?;
        let spent = after.since(&before);
        if number(db, HELD).await? > 0.0 {
            return Err(wrong("left machines claimed"));
        }
        Ok(Floored {
            machines_per_second: printed.per_second * spent.machines / printed.transactions,
            spent,
        })
    }
}

/// Searches beside the server's program and beside the target of its link.
fn pgbench(installation: &Installation) -> Option<PathBuf> {
    let linked = installation.bin().join("postgres").canonicalize().ok();
    let folders = [
        Some(installation.bin()),
        linked.as_deref().and_then(Path::parent),
    ];
    let programs = folders.into_iter().flatten().map(|bin| bin.join("pgbench"));
    programs.into_iter().find(|program| program.is_file())
}

fn define(name: &str, value: &str) -> [String; 2] {
    ["--define".to_owned(), format!("{name}={value}")]
}

/// The settings of a pooled connection.
fn options() -> String {
    PLAN_ONCE
        .map(|(name, value)| format!("-c {name}={value}"))
        .join(" ")
}

/// A claim and the failure of its machines, in pgbench's language. The claim's rows become the arrays
/// that the failures take. The next claim begins where this one ended.
fn cycle() -> Result<String, String> {
    let (query, columns) = CLAIM
        .rsplit_once("\nSELECT ")
        .and_then(|(before, query)| Some((before, query.split_once("\nFROM ")?.1)))
        .ok_or("the claim does not end in a SELECT of its own")?;
    let claim = format!(
        "{query}\nSELECT bool_or(s.lives) AS lives, array_agg(c.machine_id) AS machines,
         array_agg(c.fence) AS fences, array_agg(c.started_at) AS started_at,
         max(c.ready_at) AS ready_at\nFROM {columns}"
    );
    let claim = with_variables(
        &claim,
        &["process", "provider", "ready_at", "session", "limit"],
    );
    let fail = with_variables(
        FAIL,
        &[
            "machines",
            "processes",
            "fences",
            "started_at",
            "seconds",
            "seconds",
            "causes",
            "folds",
            "session",
        ],
    );
    Ok(format!(
        "{} \\gset\n{};\n",
        claim.trim_end(),
        fail.trim_end()
    ))
}

/// Replaces the statement's parameters by pgbench's variables. Comments are removed: pgbench would take
/// variables in them for parameters without a type.
fn with_variables(sql: &str, names: &[&str]) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("--");
    let mut sql = sql.lines().filter(is_code).collect::<Vec<_>>().join("\n");
    // From the last to the first, so that $1 is not replaced within $10.
    for (at, name) in names.iter().enumerate().rev() {
        sql = sql.replace(&format!("${}", at + 1), &format!(":{name}"));
    }
    sql
}

/// What pgbench prints at its end.
#[derive(Debug, PartialEq)]
struct Printed {
    transactions: f64,
    per_second: f64,
}

impl Printed {
    fn read(said: &str) -> Option<Self> {
        let after = |label: &str| {
            let rest = said.lines().find_map(|line| line.strip_prefix(label))?;
            let number = rest.split([' ', '/']).find(|word| !word.is_empty())?;
            number.parse().ok()
        };
        Some(Self {
            transactions: after("number of transactions actually processed:")?,
            per_second: after("tps =")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Printed, cycle, with_variables};

    #[test]
    fn a_run_of_pgbench_is_read() {
        let said = "pgbench (15.18 (Debian 15.18-0+deb12u1))\n\
                    transaction type: cycle.sql\n\
                    number of clients: 4\n\
                    number of transactions actually processed: 4711\n\
                    number of failed transactions: 0 (0.000%)\n\
                    latency average = 1.013 ms\n\
                    initial connection time = 5.532 ms\n\
                    tps = 987.654321 (without initial connection time)\n";
        let printed = Printed {
            transactions: 4711.0,
            per_second: 987.654_321,
        };
        assert_eq!(Printed::read(said), Some(printed));
        assert_eq!(Printed::read(&said.replace("tps", "TPS")), None);
        let limited = said.replace("4711", "10/10");
        assert_eq!(
            Printed::read(&limited).map(|printed| printed.transactions),
            Some(10.0)
        );
    }

    #[test]
    fn parameters_become_variables_and_longer_numbers_are_not_mistaken() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        assert_eq!(with_variables("$1 $10 $2::x $1", &names), ":a :j :b::x :a");
        assert_eq!(with_variables("$1\n  -- $2\n$3", &names), ":a\n:c");
    }

    #[test]
    fn a_cycle_has_no_parameter_left() {
        let cycle = cycle().unwrap();
        assert!(!cycle.contains('$'), "{cycle}");
        assert_eq!(cycle.matches("\\gset").count(), 1, "{cycle}");
    }
}
