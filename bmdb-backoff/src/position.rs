//! `Position`: where in a policy's schedule a persisted interval lies.

use crate::runs::Runs;
use crate::{Backoff, Seconds};

/// Where an interval lies in the [schedule](Backoff::schedule) of a policy.
///
/// Indices count from 0, the initial interval: index *n* is the interval after *n* earlier
/// failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// The schedule has this interval, which is below the maximum, at this index. At no other
    /// one, unless the factor is 1: the initial interval is then `Exact(0)` and repeats.
    Exact(u64),
    /// The schedule never has this interval: another policy was in force when it was persisted.
    Between,
    /// The interval is the maximum or above it, which is reached at this index and kept from
    /// there on.
    AtMaximum {
        /// The first index at which the schedule has the maximum.
        at_least: u64,
    },
    /// The interval is shorter than the initial one: another policy was in force.
    BelowInitial,
}

impl Backoff {
    /// Returns where an interval lies in the schedule: after how many failures.
    ///
    /// ```
    /// use bmdb_backoff::{Backoff, Position, Seconds};
    ///
    /// let policy: Backoff = "initial=2s,max=20s,factor=2".parse()?; // 2, 4, 8, 16, 20, 20, …
    /// let position = |seconds| policy.position(Seconds::new(seconds).unwrap());
    /// assert_eq!(position(1), Position::BelowInitial);
    /// assert_eq!(position(2), Position::Exact(0));
    /// assert_eq!(position(8), Position::Exact(2));
    /// assert_eq!(position(9), Position::Between);
    /// assert_eq!(position(20), Position::AtMaximum { at_least: 4 });
    /// # Ok::<(), bmdb_backoff::ParseError>(())
    /// ```
    #[must_use]
    pub const fn position(&self, interval: Seconds) -> Position {
        let interval = interval.wide();
        if interval < self.initial().wide() {
            return Position::BelowInitial;
        }
        let mut runs = Runs::of(*self);
        let mut index = 0;
        while let Some(run) = runs.advance() {
            if interval < run.first + run.len * run.step && interval < self.maximum().wide() {
                return run_position(index, interval - run.first, run.step);
            }
            index += run.len;
        }
        if runs.limit().get() == self.maximum().get() {
            Position::AtMaximum { at_least: index }
        } else if interval == runs.limit().wide() {
            Position::Exact(index)
        } else {
            Position::Between
        }
    }
}

const fn run_position(first_index: u64, distance: u64, step: u64) -> Position {
    if distance.is_multiple_of(step) {
        Position::Exact(first_index + distance / step)
    } else {
        Position::Between
    }
}
