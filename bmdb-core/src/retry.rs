//! The one policy of what is tried again, when, and for how long.

use crate::error::TxError;
use bmdb_model::Failure;
use std::time::Duration;
use tokio::time::Instant;

/// The policy of running again what lost against a concurrent transaction: jittered, growing
/// delays, bounded by time. The number of tries is no good bound: eight serializable writers of one
/// machine need four retries a commit on average and dozens at worst.
#[derive(Debug)]
pub(crate) struct Retry {
    deadline: Instant,
    entropy: u128,
    tries: u32,
    /// Whether errors that cannot be told apart are tried again, a few times.
    pub(crate) unclassified: bool,
}

impl Retry {
    const FIRST_DELAY: Duration = Duration::from_millis(1);
    const LONGEST_DELAY: Duration = Duration::from_millis(200);
    const UNCLASSIFIED_TRIES: u32 = 3;

    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            deadline: Instant::now() + limit,
            entropy: uuid::Uuid::new_v4().as_u128(),
            tries: 0,
            unclassified: false,
        }
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
        let in_time = Instant::now() + delay <= self.deadline;
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
    longest * permille / 1000
}
