//! Retries: which errors are retried, after which delay, and for how long. This is the only retry policy.

use crate::db::deadline::Deadline;
use crate::db::in_flight::InFlightGuard;
use crate::db::tx_fn::TxFn;
use crate::error::TxError;
use bmdb_model::ErrorKind;
use metrics::Counter;
use std::time::Duration;
use tokio::time::Instant;

/// Retries what lost against a concurrent transaction, with jittered, growing delays and a limit in
/// time. The number of tries would be a poor limit: eight serializable writers of one machine need four
/// retries a commit on average and dozens at worst.
#[derive(Debug)]
pub(crate) struct Retry {
    /// `None` if the limit is beyond the clock's range.
    until: Option<Instant>,
    delays: Delays,
    /// How many tries failed because of their connection.
    connections: u32,
    deadline: Deadline,
    retried: Counter,
    /// Kept for as long as there may be another try.
    _in_flight: Option<InFlightGuard>,
}

impl Retry {
    const FIRST_DELAY: Duration = Duration::from_millis(1);
    const LONGEST_DELAY: Duration = Duration::from_millis(200);
    /// The pool makes new connections after the first such error, so more of them are not for an old one.
    const CONNECTIONS: u32 = 3;

    pub(crate) fn new(limit: Duration, deadline: Deadline) -> Self {
        Self {
            until: Instant::now().checked_add(limit),
            delays: Delays::new(Self::FIRST_DELAY, Self::LONGEST_DELAY),
            connections: 0,
            deadline,
            retried: Counter::noop(),
            _in_flight: None,
        }
    }

    /// The same for an operation that draining waits for.
    pub(crate) fn in_flight(self, in_flight: InFlightGuard) -> Self {
        Self {
            _in_flight: Some(in_flight),
            ..self
        }
    }

    /// The same with each further try counted.
    pub(crate) fn counted_by(self, retried: &Counter) -> Self {
        Self {
            retried: retried.clone(),
            ..self
        }
    }

    /// The deadline of each try.
    pub(crate) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// Runs an operation until it succeeds or its error is not worth another try.
    pub(crate) async fn run<T>(
        &mut self,
        operation: impl for<'r> TxFn<&'r Self, Result<T, TxError>, Fut: Send>,
    ) -> Result<T, TxError> {
        loop {
            match operation(self).await {
                Ok(value) => return Ok(value),
                Err(error) => self.after(error).await?,
            }
        }
    }

    /// Waits before the next try, or returns the error if there is to be none.
    pub(crate) async fn after(&mut self, error: TxError) -> Result<(), TxError> {
        let worth_it = match error.kind() {
            Some(kind) if kind.is_the_connections() => {
                self.connections += 1;
                self.connections <= Self::CONNECTIONS
            }
            Some(kind) => kind.is_retryable() || kind == ErrorKind::LaneTaken,
            None => false,
        };
        if worth_it && self.pause().await {
            Ok(())
        } else {
            Err(self.deadline.explain(error))
        }
    }

    /// Like [`Retry::after`], for an end, which is worth more tries: also what a server refuses at once for
    /// a reason that may pass is tried again.
    pub(crate) async fn after_end(&mut self, error: TxError) -> Result<(), TxError> {
        // A lock or a slow server has been waited for, and a server that cannot be reached too.
        let is_refused = matches!(
            error.kind(),
            Some(
                ErrorKind::Canceled
                    | ErrorKind::ReadOnly
                    | ErrorKind::OutOfResources
                    | ErrorKind::NotReady
                    | ErrorKind::StalePlan
                    | ErrorKind::Internal
            )
        );
        match is_refused && self.pause().await {
            true => Ok(()),
            false => self.after(error).await,
        }
    }

    /// Waits before the next try; `false` if the time is up.
    pub(crate) async fn pause(&mut self) -> bool {
        let delay = self.next_delay();
        let in_time = !self.deadline.has_passed()
            && self
                .until
                .is_none_or(|until| Instant::now() + delay <= until);
        if in_time {
            self.retried.increment(1);
            tokio::time::sleep(delay).await;
        }
        in_time
    }

    /// Between a tenth and the whole of a delay that doubles with every try.
    pub(crate) fn next_delay(&mut self) -> Duration {
        self.delays.next()
    }
}

/// Delays that double from a shortest to a longest one, each jittered.
#[derive(Debug)]
pub(crate) struct Delays {
    shortest: Duration,
    longest: Duration,
    taken: u32,
    entropy: u128,
    drawn: u64,
}

impl Delays {
    pub(crate) fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            taken: 0,
            entropy: uuid::Uuid::new_v4().as_u128(),
            drawn: 0,
        }
    }

    /// Begins the sequence again with the next delay.
    pub(crate) fn restart(&mut self) {
        self.taken = 0;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.shortest.saturating_mul(1 << self.taken.min(30));
        self.taken = self.taken.saturating_add(1);
        self.jittered(whole.min(self.longest))
    }

    /// Between a tenth and the whole of `longest`, outside the sequence.
    pub(crate) fn jittered(&mut self, longest: Duration) -> Duration {
        self.drawn = self.drawn.wrapping_add(1);
        jittered(longest, bmdb_backoff::mix(self.entropy, self.drawn))
    }
}

/// Between a tenth and the whole of `longest`, chosen by a random number.
pub(crate) fn jittered(longest: Duration, random: u64) -> Duration {
    let permille = 100 + u32::try_from(random % 901).unwrap_or(900);
    (longest / 1000).saturating_mul(permille)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jittered_delay_is_between_a_tenth_and_the_whole() {
        let longest = Duration::from_secs(10);
        for random in [0, 1, 450, 900, 901, u64::MAX] {
            let delay = jittered(longest, random);
            assert!(
                (longest / 10..=longest).contains(&delay),
                "{random}: {delay:?}"
            );
        }
        assert!(jittered(Duration::MAX, u64::MAX) > Duration::from_secs(1));
    }

    #[test]
    fn delays_are_jittered_double_up_to_the_longest_and_restart() {
        let millis = Duration::from_millis;
        let wholes = [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000].map(millis);
        let mut drawn = Vec::new();
        for _ in 0..20 {
            let mut delays = Delays::new(millis(100), millis(5000));
            for _ in 0..2 {
                for whole in wholes {
                    let delay = delays.next();
                    assert!(
                        (whole / 10..=whole).contains(&delay),
                        "{whole:?}: {delay:?}"
                    );
                    drawn.push(delay.as_secs_f64() / whole.as_secs_f64());
                }
                delays.restart();
            }
        }
        let far_apart = |share: std::ops::Range<f64>| drawn.iter().any(|d| share.contains(d));
        assert!(far_apart(0.1..0.4) && far_apart(0.7..1.0), "{drawn:?}");
        drawn.sort_by(f64::total_cmp);
        drawn.dedup();
        assert!(drawn.len() > 200, "hardly jittered: {drawn:?}");
        let mut last = Delays::new(millis(1), Duration::MAX);
        last.taken = u32::MAX;
        assert!(last.next() > Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_beyond_the_clock_never_ends_the_retries() {
        let retry = |limit| Retry::new(limit, Deadline::endless());
        assert!(retry(Duration::MAX).pause().await);
        assert!(!retry(Duration::ZERO).pause().await);
    }
}
