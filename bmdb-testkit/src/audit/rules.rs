//! Rules: what the audit compares the log with.

use bmdb_backoff::Backoff;
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, Process};
use std::collections::HashMap;

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

    pub(super) fn policy(&self, process: &Process) -> Backoff {
        self.backoff_of
            .get(process)
            .copied()
            .unwrap_or(self.backoff)
    }
}
