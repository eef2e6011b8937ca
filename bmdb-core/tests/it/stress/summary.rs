//! What a run has shown: its table, and the verdict.

use super::fleet::{MACHINES, PROCESSES, WORKERS};
use super::processes::Outcome;
use bmdb_testkit::audit::Audit;
use std::fs;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Summary {
    pub(super) seed: u64,
    pub(super) time: Duration,
    pub(super) audit: Audit,
    /// What the other judges found.
    pub(super) findings: Vec<String>,
    pub(super) backends_killed: usize,
    pub(super) recoveries: usize,
    pub(super) heartbeats: usize,
    pub(super) deadlocks: usize,
    pub(super) rolled_back: usize,
    pub(super) outcome: Outcome,
}

/// What the journals count.
const SEEN: [&str; 9] = [
    "closures run again",
    "dropped claims",
    "dropped ends",
    "walked away",
    "zombies",
    "unsettled ends",
    "conflicts",
    "backed off",
    "on hold",
];

/// What may not happen in a short run: it takes a race or a fault at the right moment.
const RARE: [&str; 5] = [
    "deadlocks",
    "unsettled ends",
    "conflicts",
    "backed off",
    "on hold",
];

impl Summary {
    /// Everything that must not have happened.
    pub(super) fn findings(&self) -> impl Iterator<Item = String> {
        let violations = self.audit.violations.iter().map(ToString::to_string);
        let others = self.findings.iter().chain(&self.outcome.errors).cloned();
        violations.chain(others)
    }

    pub(super) fn is_clean(&self) -> bool {
        self.findings().next().is_none()
    }

    /// What should have happened and has not.
    pub(super) fn unseen(&self) -> Vec<&'static str> {
        let never = self.table().into_iter().filter(|(_, count)| *count == 0);
        never
            .map(|(what, _)| what)
            .filter(|what| !RARE.contains(what))
            .collect()
    }

    /// Once nothing is to be found out from them any more.
    pub(super) fn remove_journals(&self) {
        fs::remove_dir_all(&self.outcome.journals).unwrap();
    }

    fn table(&self) -> Vec<(&'static str, usize)> {
        let Audit {
            attempts,
            finished,
            failed,
            canceled,
            expired,
            ..
        } = self.audit;
        let facts = &self.outcome.facts;
        let mut table = vec![
            ("starts", attempts),
            ("finished", finished),
            ("failed", failed),
            ("canceled", canceled),
            ("expired", expired),
            ("starts of recoveries", self.recoveries),
            ("ends acknowledged", facts.acknowledged.len()),
            ("ends refused", facts.refused.len()),
            ("finishes with tags", facts.tagged.len()),
            ("heartbeats of agents", self.heartbeats),
            ("transactions rolled back", self.rolled_back),
            ("deadlocks", self.deadlocks),
            ("connections killed", self.backends_killed),
            ("processes killed", self.outcome.killed as usize),
        ];
        table.extend(SEEN.map(|what| (what, facts.seen.get(what).copied().unwrap_or(0))));
        table
    }

    #[allow(
        clippy::print_stdout,
        reason = "whoever runs the stress wants to see it"
    )]
    pub(super) fn print(&self) {
        println!(
            "\nstress: {PROCESSES} processes of {WORKERS} workers on {MACHINES} machines for {} s, \
             seed {}",
            self.time.as_secs(),
            self.seed
        );
        for (what, count) in self.table() {
            println!("{count:>9}  {what}");
        }
        println!("           journals: {}", self.outcome.journals.display());
        self.print_verdict(20);
    }

    /// With so many of the findings.
    #[allow(
        clippy::print_stdout,
        reason = "whoever runs the stress wants to see it"
    )]
    pub(super) fn print_verdict(&self, most: usize) {
        println!("{:>9}  violations and errors", self.findings().count());
        for finding in self.findings().take(most) {
            println!("           {finding}");
        }
    }
}
