//! `Step`: the interval to persist after a failure, and the delay with jitter.

use crate::{Backoff, Seconds};

/// The result of one failure: the interval to persist and the delay to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The interval without jitter, the `last` of the next failure.
    pub interval: Seconds,
    /// The interval with jitter: how long to wait now. At least one second and at most the
    /// policy's maximum.
    pub delay: Seconds,
}

impl Backoff {
    /// Returns the [`next`](Self::next) interval and its delay with jitter.
    ///
    /// `random` should be uniformly distributed; the same number gives the same delay, which
    /// makes retries reproducible with [`mix`](crate::mix). The interval does not depend on it.
    ///
    /// ```
    /// use bmdb_backoff::{Backoff, Seconds, mix};
    ///
    /// let policy: Backoff = "initial=10s,max=1h,factor=2,jitter=equal".parse()?;
    /// let (machine, fence) = (0x5eed_u128, 7);
    /// let step = policy.step(Seconds::new(20), mix(machine, fence));
    /// assert_eq!(step.interval.get(), 40);
    /// assert!((20..=40).contains(&step.delay.get()));
    /// # Ok::<(), bmdb_backoff::ParseError>(())
    /// ```
    #[must_use]
    pub const fn step(&self, last: Option<Seconds>, random: u64) -> Step {
        let interval = self.next(last);
        let delay = self.jitter().spread(interval, random).min(self.maximum());
        Step { interval, delay }
    }
}
