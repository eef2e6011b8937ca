//! `Jitter`: how the delay spreads around the persisted interval.

use crate::Seconds;

/// The spread of the delays, so that simultaneous failures are not retried at the same time.
///
/// Jitter chooses a whole number of seconds, uniformly in the range of the variant, and never
/// more than the policy's maximum. It never feeds back into the sequence of intervals.
///
/// ```
/// use bmdb_backoff::{Backoff, Jitter, Seconds};
///
/// let minute = Backoff::fixed(Seconds::new(60).unwrap());
/// let range = |jitter| {
///     let policy = minute.with_jitter(jitter);
///     [0, u64::MAX].map(|random| policy.step(None, random).delay.get())
/// };
/// assert_eq!(range(Jitter::None), [60, 60]);
/// assert_eq!(range(Jitter::Full), [1, 60]);
/// assert_eq!(range(Jitter::Equal), [30, 60]);
/// assert_eq!(range(Jitter::Percent(10)), [54, 60]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Jitter {
    /// The delay is the interval.
    #[default]
    None,
    /// From one second to the interval.
    Full,
    /// From half of the interval, rounded up, to the interval.
    Equal,
    /// From this percentage below the interval to the same percentage above it.
    ///
    /// A delay never exceeds the maximum: an interval that has reached the maximum
    /// spreads downwards only, and half of its delays are the maximum itself. Percentages above
    /// 100 count as 100.
    Percent(u8),
}

impl Jitter {
    pub(crate) const fn normalized(self) -> Self {
        match self {
            Self::Percent(percent) if percent > 100 => Self::Percent(100),
            other => other,
        }
    }

    pub(crate) const fn spread(self, interval: Seconds, random: u64) -> Seconds {
        let base = interval.wide();
        let delay = match self {
            Self::None => return interval,
            Self::Full => 1 + below(base, random),
            Self::Equal => base - base / 2 + below(base / 2 + 1, random),
            Self::Percent(percent) => {
                let spread = base * percent as u64 / 100;
                base - spread + below(2 * spread + 1, random)
            }
        };
        Seconds::saturating(delay)
    }
}

/// Maps a random number to 0 .. `bound`: the high half of the product, which needs no division
/// and is off from uniform by less than `bound` in 2⁶⁴.
const fn below(bound: u64, random: u64) -> u64 {
    ((random as u128 * bound as u128) >> u64::BITS) as u64
}
