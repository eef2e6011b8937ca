//! Rate limiter: how often a control loop may claim.

use governor::Quota;
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

const TEN: NonZeroU32 = NonZeroU32::new(10).unwrap();
const TWENTY: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// An average per second or minute, and a burst after a pause. As text: `10/s`, `30/m`, `10/s,burst=20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    period: Period,
    burst: NonZeroU32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
}

impl Default for Rate {
    fn default() -> Self {
        Self::per_second(TEN).burst(TWENTY)
    }
}

impl Rate {
    /// This many a second, with a burst of as many.
    #[must_use]
    pub const fn per_second(count: NonZeroU32) -> Self {
        Self {
            count,
            period: Period::Second,
            burst: count,
        }
    }

    /// This many a minute, with a burst of as many.
    #[must_use]
    pub const fn per_minute(count: NonZeroU32) -> Self {
        Self {
            period: Period::Minute,
            ..Self::per_second(count)
        }
    }

    /// The same with another burst.
    #[must_use]
    pub const fn burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let period = match self.period {
            Period::Second => 's',
            Period::Minute => 'm',
        };
        write!(f, "{}/{period},burst={}", self.count, self.burst)
    }
}

/// The text is not a valid rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid rate \"{0}\": expected N/s or N/m, optionally with a burst, such as 10/s,burst=20; each number at least 1"
)]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let wrong = || RateError(text.to_owned());
        let (rate, burst) = match text.split_once(",burst=") {
            None => (text, None),
            Some((rate, burst)) => (rate, Some(burst.parse().map_err(|_| wrong())?)),
        };
        let (count, period) = rate.split_once('/').unwrap_or((rate, "s"));
        let count = count.parse().map_err(|_| wrong())?;
        let rate = match period {
            "s" => Self::per_second(count),
            "m" => Self::per_minute(count),
            _ => return Err(wrong()),
        };
        Ok(burst.map_or(rate, |burst| rate.burst(burst)))
    }
}

type Governor = governor::RateLimiter<
    NotKeyed,
    InMemoryState,
    MonotonicClock,
    NoOpMiddleware<std::time::Instant>,
>;

/// Enforces a rate across the sessions of a loop.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    governor: Governor,
    clock: MonotonicClock,
}

impl RateLimiter {
    pub(crate) fn new(rate: Rate) -> Self {
        let quota = match rate.period {
            Period::Second => Quota::per_second(rate.count),
            Period::Minute => Quota::per_minute(rate.count),
        };
        Self {
            governor: Governor::direct_with_clock(quota.allow_burst(rate.burst), MonotonicClock),
            clock: MonotonicClock,
        }
    }

    /// Waits until one more is allowed. Cancellation: a dropped future has used up nothing.
    pub(crate) async fn acquire(&self) {
        while let Err(not_until) = self.governor.check() {
            let wait = not_until.wait_time_from(self.clock.now());
            // A timer may be early by less than its resolution, and must not spin then.
            tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_rate_is_parsed_and_displayed() {
        for (text, written) in [
            ("10/s", "10/s,burst=10"),
            ("7", "7/s,burst=7"),
            ("30/m,burst=2", "30/m,burst=2"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.to_string(), written);
            assert_eq!(written.parse(), Ok(rate));
        }
        for text in [
            "",
            "0/s",
            "-1/s",
            "1/h",
            "1/s,burst=0",
            "1/s,burst=",
            "x",
            "4294967296/s",
        ] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("invalid rate \"{text}\"")),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn after_a_burst_the_rate_is_enforced() {
        let rate: Rate = "50/s,burst=3".parse().unwrap();
        let limiter = RateLimiter::new(rate);
        let began = Instant::now();
        for _ in 0..3 + 5 {
            limiter.acquire().await;
        }
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(99), "{took:?}");
    }
}
