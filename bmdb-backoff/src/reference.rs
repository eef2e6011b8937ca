//! The import of the original BMDB's backoff descriptors.

use crate::{Backoff, Factor, FactorError, Seconds};

impl Backoff {
    /// The policy that a descriptor of the original means: two durations in nanoseconds and a
    /// floating-point exponent, which is the factor here.
    ///
    /// Total, because descriptors are data, and lossy: it normalises as the original documents.
    /// - Fractions of a second are rounded **up**, and values beyond [`Seconds::MAX`] are cut.
    /// - An initial interval below one second, zero and negative ones included, is one second.
    /// - A maximum below the initial interval is the initial interval.
    /// - An exponent of 1 or less, or NaN, means a [fixed](Self::fixed) interval.
    /// - An infinite exponent leads straight to the maximum.
    /// - Any other is rounded to a millionth, but never down to 1: what grew keeps growing.
    ///
    /// ```
    /// use bmdb_backoff::Backoff;
    ///
    /// let policy = Backoff::from_reference(1_500_000_000, 60_000_000_000, 1.1);
    /// assert_eq!(policy.to_string(), "initial=2s,max=1m,factor=1.1");
    /// assert_eq!(Backoff::from_reference(0, 0, 0.0), Backoff::default());
    /// ```
    #[must_use]
    pub const fn from_reference(initial_ns: i64, maximum_ns: i64, exponent: f64) -> Self {
        let initial = seconds_ceil(initial_ns);
        let maximum = seconds_ceil(maximum_ns);
        let factor = match Factor::try_from_f64(exponent) {
            Ok(factor) => factor,
            Err(FactorError::Infinite) => Factor::MAX,
            Err(FactorError::RoundsToOne) => Factor::SMALLEST_GROWTH,
            Err(FactorError::NotANumber | FactorError::BelowOne) => Factor::ONE,
        };
        if factor.is_one() {
            return Self::fixed(initial);
        }
        match Self::try_exponential(initial, maximum, factor) {
            Ok(policy) => policy,
            Err(_) => Self::exponential(initial, initial, factor),
        }
    }
}

const fn seconds_ceil(nanos: i64) -> Seconds {
    if nanos < 1 {
        Seconds::MIN
    } else {
        Seconds::saturating(nanos.unsigned_abs().div_ceil(1_000_000_000))
    }
}
