//! What the workers have done, and how long it took.

use serde_json::{Value, json};
use std::time::Duration;

/// Of one worker, or of all together.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// From the first claim to the last end.
    pub(crate) time: Duration,
    /// How many machines were claimed and failed.
    pub(crate) machines: u64,
    /// How long each claim took that got something.
    pub(crate) claims: Vec<Duration>,
    /// How many got nothing.
    pub(crate) empty: u64,
    /// How many machines were planned anew in a second meanwhile.
    pub(crate) planned: f64,
    /// How many attempts were trimmed from history in a second meanwhile.
    pub(crate) trimmed: f64,
}

impl Measured {
    /// Adds what another worker did at the same time.
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

/// By the nearest rank; zero of nothing.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
