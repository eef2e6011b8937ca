//! Findings: the counts and violations of an audit.

use super::violation::Violation;
use std::fmt;

/// What the audit found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields explain themselves")]
pub struct Audit {
    /// Attempts that have ended: the sum of the next four.
    pub attempts: usize,
    pub finished: usize,
    pub failed: usize,
    pub canceled: usize,
    /// Attempts that expired with their session.
    pub expired: usize,
    /// Attempts that have not ended yet.
    pub still_claimed: usize,
    /// The intervals, in seconds, of the longest run of failures of one machine and process.
    /// A finish ends a run; canceled and expired attempts do not.
    pub worst_intervals: Vec<u32>,
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
