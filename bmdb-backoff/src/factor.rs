//! `Factor`: by how much an interval grows, a fixed-point number of millionths.

/// How many times longer each interval is than the one before: at least 1, exact to a millionth.
///
/// Fixed-point because a policy is written by people in decimal: 1.1 is exactly 1.1 here, while
/// the nearest `f64` is a little more and makes `ceil(50 * 1.1)` come out as 56.
///
/// Its text is the decimal number, with at most six decimals: `2`, `1.2`, `1.000001`.
///
/// ```
/// use bmdb_backoff::Factor;
///
/// assert_eq!(Factor::from_int(2).micros(), 2_000_000);
/// assert_eq!(Factor::from_micros(1_100_000), Factor::try_from_f64(1.1).ok());
/// assert_eq!("1.1".parse::<Factor>()?.micros(), 1_100_000);
/// assert_eq!(Factor::from_micros(1_250_000).unwrap().to_string(), "1.25");
/// # Ok::<(), bmdb_backoff::ParseError>(())
/// ```
#[doc(alias = "exponent")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Factor {
    micros: u64,
}

impl Factor {
    /// No growth: every interval is the initial one.
    pub const ONE: Self = Self {
        micros: Self::SCALE,
    };

    /// The largest factor, which leads from any interval straight to the maximum, as every factor
    /// from 2 147 483 647 does.
    pub const MAX: Self = Self { micros: u64::MAX };

    /// The smallest factor that grows, 1.000001.
    pub(crate) const SMALLEST_GROWTH: Self = Self {
        micros: Self::SCALE + 1,
    };

    pub(crate) const SCALE: u64 = 1_000_000;

    /// A whole factor.
    ///
    /// # Panics
    ///
    /// If the factor is 0; in a `const` that is an error of the compiler.
    #[must_use]
    pub const fn from_int(factor: u32) -> Self {
        assert!(factor >= 1, "a backoff factor must be at least 1");
        Self {
            micros: factor as u64 * Self::SCALE,
        }
    }

    /// A factor in millionths, or `None` below 1 000 000.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Option<Self> {
        if micros >= Self::SCALE {
            Some(Self { micros })
        } else {
            None
        }
    }

    /// The nearest millionth to a floating-point number, halves rounded up.
    ///
    /// A number beyond [`Factor::MAX`] becomes that: both lead straight to the maximum.
    ///
    /// # Errors
    ///
    /// If the number is NaN, infinite, below 1, or above 1 but so near to it that rounding would
    /// silently turn growth off.
    pub const fn try_from_f64(factor: f64) -> Result<Self, FactorError> {
        if factor.is_nan() {
            return Err(FactorError::NotANumber);
        }
        if factor < 1.0 {
            return Err(FactorError::BelowOne);
        }
        if factor.is_infinite() {
            return Err(FactorError::Infinite);
        }
        let micros = nearest_micros(factor);
        if micros == Self::SCALE && factor > 1.0 {
            return Err(FactorError::RoundsToOne);
        }
        Ok(Self { micros })
    }

    /// The factor in millionths, at least 1 000 000.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.micros
    }

    pub(crate) const fn is_one(self) -> bool {
        self.micros == Self::SCALE
    }
}

/// Rounds a finite number of at least 1 to millionths, on its bits: multiplying it by a million
/// first would round twice, and `core` has no `round`.
const fn nearest_micros(number: f64) -> u64 {
    const FRACTION_BITS: u32 = 52;
    const BIAS: u32 = 1023;
    let bits = number.to_bits();
    let power = ((bits >> FRACTION_BITS) & 0x7ff) as u32 - BIAS;
    let fraction = (bits & ((1 << FRACTION_BITS) - 1)) | (1 << FRACTION_BITS);
    let scaled = fraction as u128 * Factor::SCALE as u128;
    let rounded = if power < FRACTION_BITS {
        let dropped = FRACTION_BITS - power;
        (scaled + (1 << (dropped - 1))) >> dropped
    } else if power < u64::BITS {
        scaled << (power - FRACTION_BITS)
    } else {
        u128::MAX
    };
    if rounded > u64::MAX as u128 {
        return u64::MAX;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "compared with u64::MAX above"
    )]
    return rounded as u64;
}

/// Why a floating-point number is not a [`Factor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FactorError {
    /// NaN.
    NotANumber,
    /// Positive infinity; [`Factor::MAX`] is what it would mean.
    Infinite,
    /// Less than 1, negative infinity included: intervals do not shrink.
    BelowOne,
    /// More than 1, but less than half a millionth more.
    RoundsToOne,
}

impl core::fmt::Display for FactorError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotANumber => "a backoff factor must be a number, not NaN",
            Self::Infinite => "a backoff factor must be finite",
            Self::BelowOne => "a backoff factor must be at least 1",
            Self::RoundsToOne => "a backoff factor above 1 must be at least 1.000001",
        })
    }
}

impl core::error::Error for FactorError {}
