//! Audit: reads the log of attempts and decides whether exclusive work was exclusive, backoffs were
//! respected and every attempt has exactly one end.
//!
//! It shares no code with what it judges: it reads the tables by its own SQL and replays them. The
//! components must have run with full history and have kept all of it (`Config::retention`), because a
//! folded row has lost the times of single attempts, and with policies without jitter, because only the
//! un-jittered interval is recorded.

mod judge;
mod read;
mod violation;

pub use violation::{AttemptRef, Violation};

use crate::TestkitError;
use bmdb_backoff::{Backoff, Jitter};
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, Process};
use std::collections::HashMap;
use std::fmt;

/// What the audit compares the log with.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The policy of failures.
    pub backoff: Backoff,
    /// Processes whose failures have another policy.
    pub backoff_of: HashMap<Process, Backoff>,
    /// The claims that workers got, if they kept a list: each must have an end.
    pub claimed: Option<Vec<(MachineId, Fence)>>,
    /// The ends that were acknowledged to workers, if they kept a list: each must be recorded so, and
    /// only one per attempt.
    pub acknowledged: Vec<End>,
    /// The ends that were refused to workers, if they kept a list: none may be recorded. Leave out
    /// refused cancels: work that its worker drops is canceled once more.
    pub refused: Vec<End>,
    /// Whether machines may still be claimed.
    pub still_claimed: StillClaimed,
}

/// An end that a worker asked for: the claim and the outcome.
pub type End = (MachineId, Fence, Outcome);

/// Whether machines may still be claimed when the audit runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StillClaimed {
    /// Every attempt must have ended. The default.
    #[default]
    Violation,
    /// Workers are still running: a claimed machine is an attempt that has not ended yet.
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
            still_claimed: StillClaimed::default(),
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
    /// Attempts that have ended: the sum of the next four.
    pub attempts: usize,
    /// Finished attempts.
    pub finished: usize,
    /// Failed attempts.
    pub failed: usize,
    /// Canceled attempts.
    pub canceled: usize,
    /// Attempts that expired with their session.
    pub expired: usize,
    /// Attempts that have not ended yet.
    pub still_claimed: usize,
    /// The intervals, in seconds, of the longest run of failures of one machine and process.
    /// A finish ends a run; canceled and expired attempts do not.
    pub worst_intervals: Vec<u32>,
    /// Everything that is wrong.
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
            "{} attempts: {} finished, {} failed, {} canceled, {} expired; {} still claimed; {} violations",
            self.attempts,
            self.finished,
            self.failed,
            self.canceled,
            self.expired,
            self.still_claimed,
            self.violations.len()
        )?;
        for violation in &self.violations {
            write!(f, "\n  {violation}")?;
        }
        Ok(())
    }
}

/// Why the log cannot be audited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Some rows stand for several attempts each.
    #[error(
        "{rows} rows of work_attempt are folded, so the times of single attempts are lost: run the \
         components with `Config::history(HistoryDetail::Full)`"
    )]
    Folded {
        /// The number of folded rows.
        rows: usize,
    },
    /// A policy has jitter.
    #[error(
        "the policy {0} has jitter, which is not recorded, so its delays cannot be judged: run \
         the components with jitter=none"
    )]
    Jitter(Backoff),
    /// The log could not be read.
    #[error("the log cannot be read: {0}")]
    Unreadable(#[from] TestkitError),
}

/// Audits the whole log of the database with this URL, in one snapshot.
///
/// # Errors
/// [`AuditError`]. Violations are not errors: the [`Audit`] lists them.
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
