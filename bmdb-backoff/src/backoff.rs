//! `Backoff`: the policy and the recurrence that leads from one interval to the next.

use crate::{Factor, Jitter, Seconds};

/// A backoff policy: the first interval, the growth, the longest interval and the jitter.
///
/// A small `Copy` value; [`Default`] is a fixed interval of one second.
///
/// # Text
///
/// Keys and values without spaces, separated by commas, in any order:
///
/// | key | value | |
/// |---|---|---|
/// | `initial` | duration | the first interval |
/// | `max` | duration, not below `initial` | the longest interval |
/// | `factor` | decimal number from 1, at most six decimals | the growth |
/// | `fixed` | duration | instead of the three above: always this interval |
/// | `jitter` | `none` (default), `full`, `equal`, or a percentage such as `10%` | see [`Jitter`] |
///
/// A duration is made of days, hours, minutes and seconds in that order, `1d2h3m4s`, each of them
/// optional; a number without a unit is an error.
///
/// `Display` writes the canonical form, which parses to an equal policy:
///
/// ```
/// use bmdb_backoff::Backoff;
///
/// let policy: Backoff = "jitter=full,max=240m,initial=300s,factor=1.20".parse()?;
/// assert_eq!(policy.to_string(), "initial=5m,max=4h,factor=1.2,jitter=full");
/// assert_eq!("fixed=60s".parse::<Backoff>()?.to_string(), "fixed=1m");
///
/// let error = "initial=5,max=4h,factor=1.2".parse::<Backoff>().unwrap_err();
/// assert_eq!(error.offset(), 9);
/// assert_eq!(error.to_string(), "at byte 9: expected a unit: `d`, `h`, `m` or `s`");
/// # Ok::<(), bmdb_backoff::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    initial: Seconds,
    maximum: Seconds,
    factor: Factor,
    jitter: Jitter,
}

impl Backoff {
    /// The same interval after every failure, without jitter.
    #[must_use]
    pub const fn fixed(initial: Seconds) -> Self {
        Self {
            initial,
            maximum: initial,
            factor: Factor::ONE,
            jitter: Jitter::None,
        }
    }

    /// Intervals that grow by `factor` from `initial` up to `maximum`, without jitter.
    ///
    /// With a factor of 1 the interval stays `initial`; `maximum` then only bounds the jitter.
    ///
    /// ```
    /// use bmdb_backoff::{Backoff, Factor, Seconds};
    ///
    /// const RETRY: Backoff =
    ///     Backoff::exponential(Seconds::new(60).unwrap(), Seconds::new(3600).unwrap(), Factor::from_int(2));
    /// assert_eq!(RETRY.to_string(), "initial=1m,max=1h,factor=2");
    /// ```
    ///
    /// # Panics
    ///
    /// If `maximum` is below `initial`; in a `const` that is an error of the compiler.
    /// [`try_exponential`](Self::try_exponential) is for values known only at run time.
    ///
    /// ```compile_fail
    /// # use bmdb_backoff::{Backoff, Factor, Seconds};
    /// const RETRY: Backoff =
    ///     Backoff::exponential(Seconds::new(60).unwrap(), Seconds::new(5).unwrap(), Factor::from_int(2));
    /// # let _ = RETRY;
    /// ```
    #[must_use]
    pub const fn exponential(initial: Seconds, maximum: Seconds, factor: Factor) -> Self {
        match Self::try_exponential(initial, maximum, factor) {
            Ok(policy) => policy,
            Err(_) => panic!("the maximum of a backoff must not be below its initial interval"),
        }
    }

    /// [`exponential`](Self::exponential) for values known only at run time.
    ///
    /// # Errors
    ///
    /// If `maximum` is below `initial`.
    pub const fn try_exponential(
        initial: Seconds,
        maximum: Seconds,
        factor: Factor,
    ) -> Result<Self, MaximumBelowInitial> {
        if maximum.get() < initial.get() {
            return Err(MaximumBelowInitial { initial, maximum });
        }
        Ok(Self {
            initial,
            maximum,
            factor,
            jitter: Jitter::None,
        })
    }

    /// The same policy with this jitter; a percentage above 100 counts as 100.
    #[must_use]
    pub const fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter.normalized();
        self
    }

    /// The interval after the first failure.
    #[must_use]
    pub const fn initial(&self) -> Seconds {
        self.initial
    }

    /// The longest interval, and the longest delay.
    #[must_use]
    pub const fn maximum(&self) -> Seconds {
        self.maximum
    }

    /// The growth from one interval to the next.
    #[doc(alias = "exponent")]
    #[must_use]
    pub const fn factor(&self) -> Factor {
        self.factor
    }

    /// The spread of the delays around the intervals.
    #[must_use]
    pub const fn jitter(&self) -> Jitter {
        self.jitter
    }

    /// The interval after a failure, given the one persisted after the previous failure.
    ///
    /// `None` means that the previous attempt did not fail: the sequence starts with the initial
    /// interval. Otherwise the interval is the last one times the factor, rounded up to whole
    /// seconds, and the maximum at most. The last interval may come from another policy: one
    /// below `initial` grows from where it is, one at or above `maximum` gives `maximum`. With a
    /// factor of 1 the interval is always `initial`, whatever was persisted.
    ///
    /// Rounding up makes every factor above 1 grow by at least a second until the maximum:
    ///
    /// ```
    /// use bmdb_backoff::Backoff;
    ///
    /// let policy: Backoff = "initial=1s,max=17s,factor=1.1".parse()?;
    /// let mut interval = policy.next(None);
    /// let mut seen = vec![interval.get()];
    /// while interval < policy.maximum() {
    ///     interval = policy.next(Some(interval));
    ///     seen.push(interval.get());
    /// }
    /// assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17]);
    /// # Ok::<(), bmdb_backoff::ParseError>(())
    /// ```
    #[must_use]
    pub const fn next(&self, last: Option<Seconds>) -> Seconds {
        let Some(last) = last else {
            return self.initial;
        };
        if self.factor.is_one() {
            return self.initial;
        }
        if last.get() >= self.maximum.get() {
            return self.maximum;
        }
        let product = last.wide().saturating_mul(self.factor.micros());
        // What is left after this comparison is below the maximum even when rounded up.
        if product >= self.maximum.wide() * Factor::SCALE {
            return self.maximum;
        }
        // `div_ceil` would look at the remainder, which costs another multiplication. The product
        // of two positive numbers is at least 1.
        Seconds::saturating((product - 1) / Factor::SCALE + 1)
    }

    /// [`next`](Self::next) where there may be no policy: without one the last interval is kept,
    /// or is one second if there is none.
    ///
    /// ```
    /// use bmdb_backoff::{Backoff, Seconds};
    ///
    /// assert_eq!(Backoff::next_or_hold(None, None).get(), 1);
    /// assert_eq!(Backoff::next_or_hold(None, Seconds::new(60)).get(), 60);
    /// assert_eq!(Backoff::next_or_hold(Some(&Backoff::default()), Seconds::new(60)).get(), 1);
    /// ```
    #[must_use]
    pub const fn next_or_hold(policy: Option<&Self>, last: Option<Seconds>) -> Seconds {
        match (policy, last) {
            (Some(policy), last) => policy.next(last),
            (None, Some(last)) => last,
            (None, None) => Seconds::MIN,
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::fixed(Seconds::MIN)
    }
}

/// A policy whose longest interval would be shorter than its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaximumBelowInitial {
    /// The initial interval that was asked for.
    pub initial: Seconds,
    /// The maximum that was asked for.
    pub maximum: Seconds,
}

impl core::fmt::Display for MaximumBelowInitial {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { initial, maximum } = self;
        write!(
            f,
            "the maximum of a backoff ({maximum}) must not be below its initial interval ({initial})"
        )
    }
}

impl core::error::Error for MaximumBelowInitial {}
