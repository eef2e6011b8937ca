//! Baseline: pgbench runs the same statements and does nothing else.

use super::counters::{Counters, Spent, number};
use super::script::Script;
use bmdb_shell::Failure;
use bmdb_testkit::{Installation, Server, TestDb};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Counts the items that are still claimed after a load.
const HELD: &str = "SELECT count(*) FROM work_item WHERE session_id IS NOT NULL";

/// Seconds after which a run without any transaction has failed.
const LONGEST: u32 = 60;

/// pgbench, and where its scripts are written.
#[derive(Debug)]
pub(super) struct Baseline {
    pgbench: PathBuf,
    script: PathBuf,
}

/// What one run printed, and what the server counted during it.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) machines_per_second: f64,
    pub(super) spent: Spent,
}

/// Options of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clients {
    pub(super) clients: u32,
    /// The machines of one run of the script.
    pub(super) batch: u32,
    pub(super) seconds: u32,
}

impl Clients {
    /// Seconds before the measurement, in which each connection plans its statements. None for `--quick`.
    const fn warm_up(self) -> u32 {
        match (self.seconds, self.clients) {
            (..=1, _) => 0,
            (_, ..=64) => 1,
            (_, _) => 3,
        }
    }

    /// How long a run takes, in seconds.
    pub(super) const fn duration(self) -> u32 {
        self.warm_up() + self.seconds
    }
}

impl Baseline {
    /// The error says why there is no baseline.
    pub(super) fn new(installation: &Installation, folder: &Path) -> Result<Self, String> {
        let pgbench = program(installation, "pgbench")
            .ok_or("the server's programs do not include pgbench")?;
        let script = folder.join("pgbench.sql");
        Ok(Self { pgbench, script })
    }

    /// Runs a script that claims machines and ends their attempts.
    pub(super) async fn run(
        &self,
        db: &TestDb,
        server: &Server,
        script: &Script,
        how: Clients,
    ) -> Result<Measured, Failure> {
        let session = db.session(Duration::from_secs(3600)).await;
        let mut script = script.clone();
        let session = session.map_err(Failure::check)?.to_string();
        script.variables.push(("session".to_owned(), session));
        let measured = self.run_bare(db, server, &script, how).await?;
        match number(db, HELD).await? > 0.0 {
            false => Ok(measured),
            true => Err(Failure::check("pgbench left machines claimed")),
        }
    }

    /// Runs a script that need not have anything to do with bmdb.
    pub(super) async fn run_bare(
        &self,
        db: &TestDb,
        server: &Server,
        script: &Script,
        how: Clients,
    ) -> Result<Measured, Failure> {
        std::fs::write(&self.script, &script.text).map_err(Failure::check)?;
        let before = Counters::read(db, server).await?;
        let mut how = how;
        let (output, printed) = loop {
            let output = self.command(db, script, how).output().await;
            let output = output.map_err(Failure::check)?;
            let printed = Printed::read(&String::from_utf8_lossy(&output.stdout));
            match printed {
                // On a busy machine, connections may need longer than the whole time to plan their statements.
                Some(printed)
                    if printed.transactions == 0.0
                        && output.status.success()
                        && how.seconds < LONGEST =>
                {
                    how.seconds *= 4;
                }
                printed => break (output, printed),
            }
        };
        let after = Counters::read(db, server).await?;
        let wrong = |why: &str| {
            let said = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            Failure::check(format!("pgbench: {why}: {}\n{said}{errors}", output.status))
        };
        if !output.status.success() {
            return Err(wrong("failed"));
        }
        let printed = printed.ok_or_else(|| wrong("did not print what it did"))?;
        if printed.transactions == 0.0 {
            return Err(wrong("completed nothing"));
        }
        if printed.failed > 0.0 {
            return Err(wrong("lost against other transactions"));
        }
        let progress = String::from_utf8_lossy(&output.stderr);
        let per_second = after_warm_up(&progress, how).unwrap_or(printed.per_second);
        let mut machines = printed.transactions * f64::from(how.batch);
        let spent = after.since(&before, |claims| {
            // A claim may get fewer machines than it asks for.
            if script.claims > 0.0 {
                machines = claims / script.claims;
            }
            machines
        });
        Ok(Measured {
            machines_per_second: per_second * machines / printed.transactions,
            spent,
        })
    }
}

impl Baseline {
    fn command(&self, db: &TestDb, script: &Script, how: Clients) -> Command {
        let defined = script.variables.iter();
        let mut command = Command::new(&self.pgbench);
        command
            .args(["--no-vacuum", "--protocol=prepared"])
            .arg(format!("--file={}", self.script.display()))
            .arg(format!("--client={}", how.clients))
            .arg(format!("--jobs={}", how.clients.min(2)))
            .arg(format!("--time={}", how.duration()))
            .arg("--progress=1")
            .args(defined.map(|(name, value)| format!("--define={name}={value}")))
            .arg(db.url())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// A program of the server: beside its main one, or beside the target of that one's link.
pub(super) fn program(installation: &Installation, name: &str) -> Option<PathBuf> {
    let linked = installation.bin().join("postgres").canonicalize().ok();
    let folders = [
        Some(installation.bin()),
        linked.as_deref().and_then(Path::parent),
    ];
    let programs = folders.into_iter().flatten().map(|bin| bin.join(name));
    programs.into_iter().find(|program| program.is_file())
}

/// What pgbench prints at its end.
#[derive(Debug, PartialEq)]
struct Printed {
    transactions: f64,
    /// Serialization failures and deadlocks; other errors end pgbench.
    failed: f64,
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
            // Versions before 15 end with any error, and do not print this.
            failed: after("number of failed transactions:").unwrap_or(0.0),
            // Not printed without transactions.
            per_second: after("tps =").unwrap_or(0.0),
        })
    }
}

/// The transactions per second after the warm-up, by what pgbench prints every second; `None` without one.
fn after_warm_up(progress: &str, how: Clients) -> Option<f64> {
    let speeds: Vec<f64> = progress
        .lines()
        .filter_map(|line| {
            let (_, line) = line.split_once("progress: ")?;
            line.split_once(" s, ")?
                .1
                .split_once(" tps")?
                .0
                .parse()
                .ok()
        })
        .skip(usize::try_from(how.warm_up()).ok()?)
        .collect();
    let seconds = u32::try_from(speeds.len()).ok().filter(|n| *n > 0)?;
    let is_warm = how.warm_up() > 0;
    is_warm.then(|| speeds.iter().sum::<f64>() / f64::from(seconds))
}

#[cfg(test)]
mod tests {
    use super::{Clients, Printed, after_warm_up};

    #[test]
    fn the_first_second_warms_up() {
        let progress = "progress: 1.0 s, 10.0 tps, lat 2.0 ms stddev 0.1, 0 failed\n\
                        progress: 2.0 s, 100.0 tps, lat 2.0 ms stddev 0.1, 0 failed\n\
                        progress: 3.0 s, 300.0 tps, lat 2.0 ms stddev 0.1, 0 failed\n";
        let clients = |seconds| Clients {
            clients: 1,
            batch: 1,
            seconds,
        };
        assert_eq!(after_warm_up(progress, clients(2)), Some(200.0));
        assert_eq!(after_warm_up(progress, clients(1)), None);
        assert_eq!(after_warm_up("", clients(2)), None);
    }

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
            failed: 0.0,
            per_second: 987.654_321,
        };
        assert_eq!(Printed::read(said), Some(printed));
        let nothing = Printed::read("number of transactions actually processed: 0\n");
        assert_eq!(nothing.map(|printed| printed.per_second), Some(0.0));
        assert_eq!(Printed::read("tps = 1.0"), None);
        let limited = said.replace("4711", "10/10");
        assert_eq!(
            Printed::read(&limited).map(|printed| printed.transactions),
            Some(10.0)
        );
    }
}
