//! The one policy of what is tried again, when, and for how long.

use crate::db::deadline::Patience;
use crate::db::pool::{Checkout, Pool};
use crate::error::TxError;
use crate::work::in_flight::InProgress;
use bmdb_model::ErrorKind;
use metrics::Counter;
use std::time::Duration;
use tokio::time::Instant;

/// The policy of running again what lost against a concurrent transaction: jittered, growing
/// delays, bounded by time. The number of tries is no good bound: eight serializable writers of one
/// machine need four retries a commit on average and dozens at worst.
#[derive(Debug)]
pub(crate) struct Retry {
    /// None where the limit is beyond what the clock can tell.
    deadline: Option<Instant>,
    delays: Delays,
    /// Whether errors that cannot be told apart are tried again, a few times.
    unclassified: bool,
    patience: Patience,
    retried: Counter,
    /// Kept for as long as there may be another try.
    _in_progress: Option<InProgress>,
}

impl Retry {
    const FIRST_DELAY: Duration = Duration::from_millis(1);
    const LONGEST_DELAY: Duration = Duration::from_millis(200);
    const UNCLASSIFIED_TRIES: u32 = 3;

    pub(crate) fn new(limit: Duration, patience: Patience) -> Self {
        Self {
            deadline: Instant::now().checked_add(limit),
            delays: Delays::new(Self::FIRST_DELAY, Self::LONGEST_DELAY),
            unclassified: false,
            patience,
            retried: Counter::noop(),
            _in_progress: None,
        }
    }

    /// The same, for something that draining waits for.
    pub(crate) fn in_progress(self, in_progress: InProgress) -> Self {
        Self {
            _in_progress: Some(in_progress),
            ..self
        }
    }

    /// The same, with each further try counted.
    pub(crate) fn counted_by(self, retried: &Counter) -> Self {
        Self {
            retried: retried.clone(),
            ..self
        }
    }

    /// For how long a try waits for the database.
    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// A connection for the next try. Where its server's messages are not English, a deadlock cannot be
    /// told from other errors.
    pub(crate) async fn checkout(&mut self, pool: &Pool) -> Result<Checkout, TxError> {
        let conn = self.patience.checkout(pool).await?;
        self.unclassified |= !conn.info().messages_are_english;
        Ok(conn)
    }

    /// Waits before the next try, or returns the error when there is to be none.
    pub(crate) async fn after(&mut self, error: TxError) -> Result<(), TxError> {
        let worth_it = match error.kind() {
            Some(ErrorKind::Unclassified) => {
                self.unclassified && self.delays.taken < Self::UNCLASSIFIED_TRIES
            }
            Some(failure) => failure.is_retryable() || failure == ErrorKind::LaneTaken,
            None => false,
        };
        if worth_it && self.pause().await {
            Ok(())
        } else {
            Err(self.patience.explain(error))
        }
    }

    /// Waits before looking again at something unsettled; `false` when the time is up.
    pub(crate) async fn pause(&mut self) -> bool {
        let delay = self.next_delay();
        let in_time = !self.patience.is_exhausted()
            && self
                .deadline
                .is_none_or(|deadline| Instant::now() + delay <= deadline);
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

/// Delays that double from a shortest to a longest, each of them jittered.
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

    /// The next delay begins the sequence anew.
    pub(crate) fn restart(&mut self) {
        self.taken = 0;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.shortest.saturating_mul(1 << self.taken.min(30));
        self.taken = self.taken.saturating_add(1);
        self.jittered(whole.min(self.longest))
    }

    /// Between a tenth and the whole of `longest`, outside of the sequence.
    pub(crate) fn jittered(&mut self, longest: Duration) -> Duration {
        self.drawn = self.drawn.wrapping_add(1);
        jittered(longest, bmdb_backoff::mix(self.entropy, self.drawn))
    }
}

/// Between a tenth and the whole of `longest`, by a random number.
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
    fn delays_double_to_the_longest_are_jittered_and_begin_anew() {
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
    async fn a_limit_beyond_the_clock_is_no_limit() {
        let retry = |limit| Retry::new(limit, Patience::endless());
        assert!(retry(Duration::MAX).pause().await);
        assert!(!retry(Duration::ZERO).pause().await);
    }
}
