//! Results of the workers: machines and times.

use serde_json::{Value, json};
use std::time::Duration;

/// The results of one worker or of all.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// From the first claim to the last end.
    pub(crate) time: Duration,
    /// Claimed and failed machines.
    pub(crate) machines: u64,
    /// The duration of each claim that was not empty.
    pub(crate) claims: Vec<Duration>,
    /// Empty claims.
    pub(crate) empty: u64,
    /// Replanned machines per second.
    pub(crate) planned: f64,
    /// Trimmed attempts per second.
    pub(crate) trimmed: f64,
}

impl Measured {
    /// Adds the results of another worker.
    pub(crate) fn add(&mut self, other: Self) {
        self.time = self.time.max(other.time);
        self.machines += other.machines;
        self.claims.extend(other.claims);
        self.empty += other.empty;
    }

    pub(crate) fn as_json(&self) -> Value {
        let mut sorted = self.claims.clone();
        sorted.sort_unstable();
        let milliseconds = |percent| percentile(&sorted, percent).as_secs_f64() * 1e3;
        json!({
            "seconds": self.time.as_secs_f64(),
            "machines": self.machines,
            "claims": self.claims.len(),
            "empty_claims": self.empty,
            "planned_per_second": self.planned,
            "trimmed_per_second": self.trimmed,
            "claim_p50_ms": milliseconds(50),
            "claim_p99_ms": milliseconds(99),
            "claim_max_ms": milliseconds(100),
        })
    }
}

/// The percentile by nearest rank; zero without samples.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
