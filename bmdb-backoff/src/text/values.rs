//! The text form of single values: durations, factors and jitters.

use core::fmt;
use core::str::FromStr;

use super::reader::Reader;
use crate::{Factor, Jitter, ParseError, Seconds};

impl FromStr for Seconds {
    type Err = ParseError;

    /// Reads a duration such as `1d2h3m4s`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Reader::whole(text, Reader::seconds)
    }
}

impl FromStr for Factor {
    type Err = ParseError;

    /// Reads a decimal number with at most six decimals, exactly.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Reader::whole(text, Reader::factor)
    }
}

impl FromStr for Jitter {
    type Err = ParseError;

    /// Reads `none`, `full`, `equal` or a percentage from `0%` to `100%`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Reader::whole(text, Reader::jitter)
    }
}

/// The units of a duration in seconds, in the order in which they are written.
const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl Reader<'_> {
    pub(super) fn seconds(&mut self) -> Result<Seconds, ParseError> {
        const RANGE: &str = "a duration from `1s` to `24855d3h14m7s`";
        let start = self.offset();
        let mut smaller_units = UNITS.iter();
        let mut total: u64 = 0;
        loop {
            let amount = self.digits()?.parse::<u64>().ok();
            let unit_at = self.offset();
            let unit = self.unit()?;
            let Some((_, seconds)) = smaller_units.find(|(letter, _)| *letter == unit) else {
                return Err(ParseError::new(
                    unit_at,
                    "a smaller unit than the one before it",
                ));
            };
            total = amount
                .and_then(|amount| amount.checked_mul(u64::from(*seconds)))
                .and_then(|part| part.checked_add(total))
                .ok_or(ParseError::new(start, RANGE))?;
            if !self.at_digit() {
                break;
            }
        }
        u32::try_from(total)
            .ok()
            .and_then(Seconds::new)
            .ok_or(ParseError::new(start, RANGE))
    }

    fn unit(&mut self) -> Result<char, ParseError> {
        match UNITS.iter().find(|(letter, _)| self.skip(*letter)) {
            Some((letter, _)) => Ok(*letter),
            None => self.expected("a unit: `d`, `h`, `m` or `s`"),
        }
    }

    pub(super) fn factor(&mut self) -> Result<Factor, ParseError> {
        const RANGE: &str = "a factor from 1 to 18446744073709.551615";
        const DECIMALS: usize = 6;
        let start = self.offset();
        let whole = self.digits()?.parse::<u64>().ok();
        let mut millionths = 0;
        if self.skip('.') {
            let decimals_at = self.offset();
            let decimals = self.digits()?;
            if decimals.len() > DECIMALS {
                return Err(ParseError::new(
                    decimals_at + DECIMALS,
                    "at most six decimals",
                ));
            }
            millionths = (0..DECIMALS).fold(0, |millionths, place| {
                let digit = decimals.as_bytes().get(place).map_or(0, |byte| byte - b'0');
                millionths * 10 + u64::from(digit)
            });
        }
        whole
            .and_then(|whole| whole.checked_mul(Factor::SCALE))
            .and_then(|micros| micros.checked_add(millionths))
            .and_then(Factor::from_micros)
            .ok_or(ParseError::new(start, RANGE))
    }

    pub(super) fn jitter(&mut self) -> Result<Jitter, ParseError> {
        let start = self.offset();
        match self.word() {
            "none" => Ok(Jitter::None),
            "full" => Ok(Jitter::Full),
            "equal" => Ok(Jitter::Equal),
            "" if self.at_digit() => self.percent(),
            _ => Err(ParseError::new(
                start,
                "`none`, `full`, `equal` or a percentage such as `10%`",
            )),
        }
    }

    fn percent(&mut self) -> Result<Jitter, ParseError> {
        let start = self.offset();
        let percent = self
            .digits()?
            .parse()
            .ok()
            .filter(|percent| *percent <= 100);
        self.take('%', "`%`")?;
        percent
            .map(Jitter::Percent)
            .ok_or(ParseError::new(start, "a percentage from `0%` to `100%`"))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.get();
        for (unit, seconds) in UNITS {
            if left >= seconds {
                write!(f, "{}{unit}", left / seconds)?;
                left %= seconds;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mut decimals) = (self.micros() / Self::SCALE, self.micros() % Self::SCALE);
        write!(f, "{whole}")?;
        if decimals == 0 {
            return Ok(());
        }
        let mut width = 6;
        while decimals.is_multiple_of(10) {
            decimals /= 10;
            width -= 1;
        }
        write!(f, ".{decimals:0width$}")
    }
}

impl fmt::Display for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Full => f.write_str("full"),
            Self::Equal => f.write_str("equal"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}
