//! Audit: reads the log of attempts and checks whether lanes were exclusive, backoffs were respected
//! and every attempt ended exactly once.
//!
//! It shares no code with the components that it checks: it reads the tables with SQL of its own and
//! replays them. The components must have run with full history and must have kept all of it
//! (`Config::retention`), because a folded row has lost the times to check; and with policies without
//! jitter, because only the interval without jitter is recorded.

mod judge;
mod read;
mod violation;

pub use violation::{Place, Violation};

use crate::TestkitError;
use bmdb_backoff::{Backoff, Jitter};
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, Process};
use std::collections::HashMap;
use std::fmt;

/// What the audit checks against.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The policy with which failures were recorded.
    pub backoff: Backoff,
    /// Other policies, by the process whose failures they were used for.
    pub backoff_of: HashMap<Process, Backoff>,
    /// The claims that workers got, if they kept a list: each must have ended.
    pub claimed: Option<Vec<(MachineId, Fence)>>,
    /// The ends that were acknowledged to workers, if they kept a list: each must be recorded with this
    /// outcome, and each attempt can have ended only once.
    pub acknowledged: Vec<End>,
    /// The ends that were refused to workers, if they kept a list: none may be recorded. Leave out refused
    /// cancels, because an attempt that its worker drops is canceled again.
    pub refused: Vec<End>,
    /// Whether machines may still be claimed.
    pub held: Held,
}

/// An end that a worker requested: of which claim, and with which outcome.
pub type End = (MachineId, Fence, Outcome);

/// Whether machines may still be claimed when the audit runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Held {
    /// Everything must have ended: a claimed machine is a violation. The default.
    #[default]
    Violation,
    /// Workers still run: a claimed machine is an attempt that has not ended yet.
    Allowed,
}

impl Rules {
    /// One policy, no lists of claims and ends, and no machine may still be claimed.
    #[must_use]
    pub fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            backoff_of: HashMap::new(),
            claimed: None,
            acknowledged: Vec::new(),
            refused: Vec::new(),
            held: Held::default(),
        }
    }

    fn policy(&self, process: &Process) -> Backoff {
        self.backoff_of
            .get(process)
            .copied()
            .unwrap_or(self.backoff)
    }
}

/// What the audit found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Audit {
    /// The attempts that have ended.
    pub attempts: usize,
    /// Those that finished.
    pub finished: usize,
    /// Those that failed.
    pub failed: usize,
    /// Those that were canceled.
    pub canceled: usize,
    /// Those that expired with their session.
    pub expired: usize,
    /// The attempts that have not ended yet.
    pub held: usize,
    /// The intervals, in seconds, of the longest run of failures of one machine and process. A finished
    /// attempt ends a run; canceled and expired ones do not.
    pub worst_intervals: Vec<u32>,
    /// Everything that must not have happened.
    pub violations: Vec<Violation>,
}

impl Audit {
    /// Whether there is no violation.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} attempts: {} finished, {} failed, {} canceled, {} expired; {} held; {} violations",
            self.attempts,
            self.finished,
            self.failed,
            self.canceled,
            self.expired,
            self.held,
            self.violations.len()
        )?;
        for violation in &self.violations {
            write!(f, "\n  {violation}")?;
        }
        Ok(())
    }
}

/// Why the log could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Some rows stand for several attempts.
    #[error(
        "{rows} rows of work_attempt are folded, so the times of single attempts are lost: run the \
         components with `Config::history(HistoryDetail::Full)`"
    )]
    Folded {
        /// How many rows are folded.
        rows: usize,
    },
    /// A policy has jitter.
    #[error(
        "the policy {0} has jitter, which is not recorded, so its delays cannot be checked: run \
         the components with jitter=none"
    )]
    Jitter(Backoff),
    /// The log could not be read.
    #[error("the log cannot be read: {0}")]
    Unreadable(#[from] TestkitError),
}

/// Checks the whole log of the database with this URL, read in one snapshot.
///
/// # Errors
/// [`AuditError`]. Violations are not errors: they are in the [`Audit`].
pub async fn audit(url: &str, rules: &Rules) -> Result<Audit, AuditError> {
    let mut policies = [&rules.backoff]
        .into_iter()
        .chain(rules.backoff_of.values());
    if let Some(jittered) = policies.find(|policy| policy.jitter() != Jitter::None) {
        return Err(AuditError::Jitter(*jittered));
    }
    let attempts = read::attempts(url).await?;
    let rows = attempts.iter().filter(|attempt| attempt.folded).count();
    if rows > 0 {
        return Err(AuditError::Folded { rows });
    }
    Ok(judge::judge(attempts, rules))
}
