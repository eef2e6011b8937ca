//! `Schedule`, the intervals of successive failures, and what they add up to.

use core::iter::FusedIterator;
use core::time::Duration;

use crate::runs::Runs;
use crate::{Backoff, Seconds};

/// The intervals of successive failures, without end: once the maximum is reached, it repeats.
///
/// Made by [`Backoff::schedule`] and [`Backoff::schedule_from`].
#[derive(Clone, Debug)]
#[must_use = "a schedule does nothing until it is iterated"]
pub struct Schedule {
    policy: Backoff,
    last: Option<Seconds>,
}

impl Iterator for Schedule {
    type Item = Seconds;

    fn next(&mut self) -> Option<Seconds> {
        let interval = self.policy.next(self.last);
        self.last = Some(interval);
        Some(interval)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

impl FusedIterator for Schedule {}

impl Backoff {
    /// The intervals of successive failures from the first one on.
    ///
    /// ```
    /// use bmdb_backoff::Backoff;
    ///
    /// let policy: Backoff = "initial=1s,max=5s,factor=2".parse()?;
    /// let seconds: Vec<u32> = policy.schedule().map(|s| s.get()).take(5).collect();
    /// assert_eq!(seconds, [1, 2, 4, 5, 5]);
    ///
    /// let policy: Backoff = "initial=1m,max=2m,factor=1.1".parse()?;
    /// let seconds: Vec<u32> = policy.schedule().map(|s| s.get()).take(9).collect();
    /// assert_eq!(seconds, [60, 66, 73, 81, 90, 99, 109, 120, 120]);
    /// # Ok::<(), bmdb_backoff::ParseError>(())
    /// ```
    pub const fn schedule(&self) -> Schedule {
        Schedule {
            policy: *self,
            last: None,
        }
    }

    /// The intervals that follow a persisted one; with `None` the whole schedule.
    ///
    /// ```
    /// use bmdb_backoff::{Backoff, Seconds};
    ///
    /// let policy: Backoff = "initial=1m,max=1h,factor=2".parse()?;
    /// let seconds: Vec<u32> = policy.schedule_from(Seconds::new(1000)).map(|s| s.get()).take(3).collect();
    /// assert_eq!(seconds, [2000, 3600, 3600]);
    /// # Ok::<(), bmdb_backoff::ParseError>(())
    /// ```
    pub fn schedule_from(&self, last: impl Into<Option<Seconds>>) -> Schedule {
        Schedule {
            policy: *self,
            last: last.into(),
        }
    }

    /// How many failures get a shorter interval before one gets the maximum, or `None` if the
    /// factor is 1 and the maximum is never reached.
    ///
    /// It is the first index at which [`schedule`](Self::schedule) has the maximum.
    ///
    /// ```
    /// use bmdb_backoff::Backoff;
    ///
    /// let policy: Backoff = "initial=1s,max=5s,factor=2".parse()?; // 1, 2, 4, 5, 5, …
    /// assert_eq!(policy.failures_to_maximum(), Some(3));
    /// # Ok::<(), bmdb_backoff::ParseError>(())
    /// ```
    #[must_use]
    pub const fn failures_to_maximum(&self) -> Option<u64> {
        let mut runs = Runs::of(*self);
        if runs.limit().get() < self.maximum().get() {
            return None;
        }
        let mut failures = 0;
        while let Some(run) = runs.advance() {
            failures += run.len;
        }
        Some(failures)
    }

    /// The time spent waiting, without jitter, before the first interval that is the maximum, or
    /// `None` if the factor is 1 and the maximum is never reached.
    ///
    /// ```
    /// use bmdb_backoff::Backoff;
    /// use std::time::Duration;
    ///
    /// let policy: Backoff = "initial=1s,max=5s,factor=2".parse()?;
    /// assert_eq!(policy.time_to_maximum(), Some(Duration::from_secs(1 + 2 + 4)));
    /// # Ok::<(), bmdb_backoff::ParseError>(())
    /// ```
    #[must_use]
    pub const fn time_to_maximum(&self) -> Option<Duration> {
        match self.failures_to_maximum() {
            Some(failures) => Some(self.total(failures)),
            None => None,
        }
    }

    /// The time that successive failures spend waiting, without jitter: the sum of the
    /// first `failures` intervals, saturating at [`u64::MAX`] seconds.
    ///
    /// ```
    /// use bmdb_backoff::Backoff;
    /// use std::time::Duration;
    ///
    /// let policy: Backoff = "initial=1s,max=5s,factor=2".parse()?;
    /// assert_eq!(policy.total(6), Duration::from_secs(1 + 2 + 4 + 5 + 5 + 5));
    /// assert_eq!(policy.total(u64::MAX), Duration::from_secs(u64::MAX));
    /// # Ok::<(), bmdb_backoff::ParseError>(())
    /// ```
    #[must_use]
    pub const fn total(&self, failures: u64) -> Duration {
        let mut runs = Runs::of(*self);
        let mut left = failures;
        let mut seconds = 0;
        while left > 0
            && let Some(run) = runs.advance()
        {
            let taken = if run.len < left { run.len } else { left };
            seconds += run.sum(taken);
            left -= taken;
        }
        let at_limit = left.saturating_mul(runs.limit().wide());
        Duration::from_secs(at_limit.saturating_add(seconds))
    }
}
