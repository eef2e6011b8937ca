//! `Seconds`: an interval of at least one whole second that fits a database's 32-bit integer.

use core::num::NonZeroU32;
use core::time::Duration;

/// An interval of 1 to 2 147 483 647 whole seconds (about 68 years).
///
/// Whole seconds because that is what is persisted; never zero, so a failure always costs some
/// waiting.
///
/// Its text is a [duration](crate::Backoff#text) such as `1h30m`.
///
/// ```
/// use bmdb_backoff::Seconds;
///
/// const HOUR: Seconds = Seconds::new(3600).unwrap();
/// assert_eq!(HOUR.get(), 3600);
/// assert_eq!(HOUR.to_string(), "1h");
/// assert_eq!("90m".parse::<Seconds>()?.to_string(), "1h30m");
/// assert_eq!(Seconds::new(0), None);
/// # Ok::<(), bmdb_backoff::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(NonZeroU32);

impl Seconds {
    /// One second, the shortest interval.
    pub const MIN: Self = Self(NonZeroU32::MIN);

    /// 2 147 483 647 seconds, the longest interval.
    pub const MAX: Self = match NonZeroU32::new(i32::MAX.unsigned_abs()) {
        Some(seconds) => Self(seconds),
        None => Self::MIN,
    };

    /// An interval of this many seconds, or `None` outside of [`MIN`](Self::MIN) to
    /// [`MAX`](Self::MAX).
    #[must_use]
    pub const fn new(seconds: u32) -> Option<Self> {
        match NonZeroU32::new(seconds) {
            Some(nonzero) if seconds <= Self::MAX.get() => Some(Self(nonzero)),
            _ => None,
        }
    }

    /// The interval as a number of seconds.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The interval that a database column holds, moved into range.
    ///
    /// A row that was edited by hand must not stop the retries of a machine, so zero and
    /// negative values count as one second and large ones as [`MAX`](Self::MAX).
    ///
    /// ```
    /// use bmdb_backoff::Seconds;
    ///
    /// assert_eq!(Seconds::from_db(60).get(), 60);
    /// assert_eq!(Seconds::from_db(-60), Seconds::MIN);
    /// assert_eq!(Seconds::from_db(i64::MAX), Seconds::MAX);
    /// ```
    #[must_use]
    pub const fn from_db(seconds: i64) -> Self {
        if seconds < 1 {
            Self::MIN
        } else {
            Self::saturating(seconds.unsigned_abs())
        }
    }

    /// The duration rounded up to whole seconds and moved into range.
    ///
    /// ```
    /// use bmdb_backoff::Seconds;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Seconds::from_duration_ceil(Duration::from_millis(1001)).get(), 2);
    /// assert_eq!(Seconds::from_duration_ceil(Duration::ZERO), Seconds::MIN);
    /// assert_eq!(Seconds::from_duration_ceil(Duration::MAX), Seconds::MAX);
    /// ```
    #[must_use]
    pub const fn from_duration_ceil(duration: Duration) -> Self {
        let fraction = (duration.subsec_nanos() > 0) as u64;
        Self::saturating(duration.as_secs().saturating_add(fraction))
    }

    /// The interval as a duration.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.wide())
    }

    /// The interval in the width in which this crate calculates.
    pub(crate) const fn wide(self) -> u64 {
        self.get() as u64
    }

    pub(crate) const fn saturating(seconds: u64) -> Self {
        if seconds > Self::MAX.wide() {
            return Self::MAX;
        }
        #[expect(clippy::cast_possible_truncation, reason = "compared with MAX above")]
        match NonZeroU32::new(seconds as u32) {
            Some(seconds) => Self(seconds),
            None => Self::MIN,
        }
    }

    pub(crate) const fn min(self, other: Self) -> Self {
        if self.get() <= other.get() {
            self
        } else {
            other
        }
    }
}

/// The number of seconds is not an interval: it is not in 1 ..= 2 147 483 647.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfRange;

impl core::fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "an interval has 1 to {} seconds", Seconds::MAX.get())
    }
}

impl core::error::Error for OutOfRange {}

impl TryFrom<u32> for Seconds {
    type Error = OutOfRange;

    fn try_from(seconds: u32) -> Result<Self, OutOfRange> {
        Self::new(seconds).ok_or(OutOfRange)
    }
}

impl TryFrom<i64> for Seconds {
    type Error = OutOfRange;

    fn try_from(seconds: i64) -> Result<Self, OutOfRange> {
        u32::try_from(seconds).map_err(|_| OutOfRange)?.try_into()
    }
}

impl From<Seconds> for u32 {
    fn from(seconds: Seconds) -> Self {
        seconds.get()
    }
}

impl From<Seconds> for u64 {
    fn from(seconds: Seconds) -> Self {
        seconds.wide()
    }
}

impl From<Seconds> for i64 {
    fn from(seconds: Seconds) -> Self {
        seconds.get().into()
    }
}

impl From<Seconds> for Duration {
    fn from(seconds: Seconds) -> Self {
        seconds.as_duration()
    }
}
