//! `Runs`: the growing part of a schedule in closed form, as a few arithmetic progressions.
//!
//! A factor near 1 takes millions of failures to reach a distant maximum, but grows by the same
//! number of seconds for thousands of them. Those failures cost one division in all, so that totals
//! and positions of any policy stay below a millisecond.

use crate::{Backoff, Factor, Seconds};

/// Walks over the intervals below the one where the schedule stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs {
    policy: Backoff,
    first: Seconds,
}

/// `len` intervals, at least one: `first`, `first + step`, `first + 2 * step`, …
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) step: u64,
    pub(crate) len: u64,
}

impl Runs {
    pub(crate) const fn of(policy: Backoff) -> Self {
        Self {
            policy,
            first: policy.initial(),
        }
    }

    /// The interval that repeats once the runs are over.
    pub(crate) const fn limit(&self) -> Seconds {
        if self.policy.factor().is_one() {
            self.policy.initial()
        } else {
            self.policy.maximum()
        }
    }

    /// The next run; not an `Iterator`, so that it works in a `const`.
    pub(crate) const fn advance(&mut self) -> Option<Run> {
        let limit = self.limit().wide();
        let first = self.first.wide();
        if first >= limit {
            return None;
        }
        let step = self.policy.next(Some(self.first)).wide() - first;
        // ceil(x * factor) - x is the same step for every x up to the one where
        // x * (factor - 1) reaches it. Where the maximum cut the step short, `first` may lie
        // beyond that already and is a run of its own.
        let last = step * Factor::SCALE / (self.policy.factor().micros() - Factor::SCALE);
        let last = if last < limit { last } else { limit - 1 };
        let len = last.saturating_sub(first) / step + 1;
        self.first = Seconds::saturating(first + len * step);
        Some(Run { first, step, len })
    }
}

impl Run {
    /// The sum of the first `len` intervals of this run.
    ///
    /// All of them are below 2³¹, so there are fewer than 2³¹ and the sum stays below 2⁶².
    pub(crate) const fn sum(self, len: u64) -> u64 {
        if len == 0 {
            0
        } else {
            len * self.first + self.step * (len * (len - 1) / 2)
        }
    }
}
