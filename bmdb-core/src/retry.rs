//! The one policy of what is tried again, when, and for how long.

use crate::error::TxError;
use crate::pool::Checkout;
use bmdb_model::Failure;
use std::time::Duration;
use tokio::time::Instant;

/// The policy of running again what lost against a concurrent transaction: jittered, growing
/// delays, bounded by time. The number of tries is no good bound: eight serializable writers of one
/// machine need four retries a commit on average and dozens at worst.
#[derive(Debug)]
pub(crate) struct Retry {
    /// None where the limit is beyond what the clock can tell.
    deadline: Option<Instant>,
    entropy: u128,
    tries: u32,
    /// Whether errors that cannot be told apart are tried again, a few times.
    unclassified: bool,
}

impl Retry {
    const FIRST_DELAY: Duration = Duration::from_millis(1);
    const LONGEST_DELAY: Duration = Duration::from_millis(200);
    const UNCLASSIFIED_TRIES: u32 = 3;

    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            deadline: Instant::now().checked_add(limit),
            entropy: uuid::Uuid::new_v4().as_u128(),
            tries: 0,
            unclassified: false,
        }
    }

    /// The next try uses this connection: where its server's messages are not English, a deadlock
    /// cannot be told from other errors.
    pub(crate) fn on(&mut self, conn: &Checkout) {
        self.unclassified |= !conn.info().messages_are_english;
    }

    /// Waits before the next try, or returns the error when there is to be none.
    pub(crate) async fn after(&mut self, error: TxError) -> Result<(), TxError> {
        let worth_it = match error.failure() {
            Some(Failure::Unclassified) => {
                self.unclassified && self.tries < Self::UNCLASSIFIED_TRIES
            }
            Some(failure) => failure.is_retryable() || failure == Failure::LaneTaken,
            None => false,
        };
        if worth_it && self.pause().await {
            Ok(())
        } else {
            Err(error)
        }
    }

    /// Waits before looking again at something unsettled; `false` when the time is up.
    pub(crate) async fn pause(&mut self) -> bool {
        let delay = self.next_delay();
        let in_time = self
            .deadline
            .is_none_or(|deadline| Instant::now() + delay <= deadline);
        if in_time {
            tokio::time::sleep(delay).await;
        }
        in_time
    }

    /// Between a tenth and the whole of a delay that doubles with every try.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let longest = Self::FIRST_DELAY
            .saturating_mul(1 << self.tries.min(16))
            .min(Self::LONGEST_DELAY);
        self.tries += 1;
        jittered(longest, bmdb_backoff::mix(self.entropy, self.tries.into()))
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

    #[tokio::test(start_paused = true)]
    async fn a_limit_beyond_the_clock_is_no_limit() {
        assert!(Retry::new(Duration::MAX).pause().await);
        assert!(!Retry::new(Duration::ZERO).pause().await);
    }
}
