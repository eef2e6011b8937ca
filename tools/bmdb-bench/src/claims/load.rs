//! Load through the public API: a separate program, which can be built with optimisation.

use super::counters::{Counters, Spent};
use bmdb_shell::Failure;
use bmdb_testkit::{Server, TestDb};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// No load takes longer, unless it waits for what never comes.
const LONGEST: Duration = Duration::from_secs(600);

/// The program.
#[derive(Debug)]
pub(super) struct Load(PathBuf);

/// How the load is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Built {
    Optimised,
    /// For `--quick`.
    AsForTests,
}

/// What one run printed, and what the server counted during it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) machines_per_second: f64,
    pub(super) claim_p50_ms: f64,
    pub(super) claim_p99_ms: f64,
    pub(super) empty_claims: f64,
    /// Replanned machines and trimmed attempts, with `--disturb`.
    pub(super) planned_per_second: f64,
    pub(super) trimmed_per_second: f64,
    pub(super) spent: Spent,
}

impl Load {
    /// Builds the program. With optimisation, the first build takes minutes.
    pub(super) fn build(built: Built) -> Result<Self, Failure> {
        let program = ["--package", "bmdb-bench", "--bin", "bmdb-load"];
        let options: &[&str] = match built {
            Built::Optimised => &["--release"],
            Built::AsForTests => &[],
        };
        bmdb_shell::built("bmdb-load", &[&program, options].concat()).map(Self)
    }

    /// Runs the load with these options on a database.
    pub(super) async fn run(
        &self,
        db: &TestDb,
        server: &Server,
        options: &[(&str, String)],
    ) -> Result<Loaded, Failure> {
        let before = Counters::read(db, server).await?;
        let mut command = Command::new(&self.0);
        command.env("DATABASE_URL", db.url());
        for (name, value) in options {
            command.arg(format!("--{name}"));
            command.args(Some(value).filter(|value| !value.is_empty()));
        }
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(LONGEST, output).await;
        let hung = |_| Failure::check(format!("the load {options:?} has not ended in {LONGEST:?}"));
        let output = output.map_err(hung)?.map_err(Failure::check)?;
        let after = Counters::read(db, server).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let printed: Value = serde_json::from_str(&said).unwrap_or_default();
        let number = |name: &str| {
            printed[name].as_f64().ok_or_else(|| {
                let why = String::from_utf8_lossy(&output.stderr);
                Failure::check(format!(
                    "the load {options:?} ended: {}\n{why}",
                    output.status
                ))
            })
        };
        let retries = ("end", "retry".to_owned());
        let claims_each = if options.contains(&retries) { 2.0 } else { 1.0 };
        Ok(Loaded {
            machines_per_second: number("machines")? / number("seconds")?,
            claim_p50_ms: number("claim_p50_ms")?,
            claim_p99_ms: number("claim_p99_ms")?,
            empty_claims: number("empty_claims")?,
            planned_per_second: number("planned_per_second")?,
            trimmed_per_second: number("trimmed_per_second")?,
            spent: after.since(&before, |claims| claims / claims_each),
        })
    }
}
