//! The text form of policies: `FromStr` and `Display` of `Backoff`.

mod reader;
mod values;

use core::fmt;
use core::str::FromStr;

use crate::{Backoff, Factor, Jitter, ParseError, Seconds};
use reader::Reader;

impl FromStr for Backoff {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut reader = Reader::new(text);
        let mut fields = Fields::default();
        loop {
            fields.read_pair(&mut reader)?;
            if reader.at_end() {
                return fields.into_policy(reader.offset());
            }
            reader.take(',', "`,` or the end of the text")?;
        }
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (initial, maximum) = (self.initial(), self.maximum());
        if *self == Self::fixed(initial).with_jitter(self.jitter()) {
            write!(f, "fixed={initial}")?;
        } else {
            write!(
                f,
                "initial={initial},max={maximum},factor={}",
                self.factor()
            )?;
        }
        match self.jitter() {
            Jitter::None => Ok(()),
            jitter => write!(f, ",jitter={jitter}"),
        }
    }
}

/// The values read so far.
#[derive(Default)]
struct Fields {
    initial: Option<Seconds>,
    max: Option<Seconds>,
    max_at: usize,
    factor: Option<Factor>,
    fixed: Option<Seconds>,
    jitter: Option<Jitter>,
}

impl Fields {
    fn read_pair(&mut self, reader: &mut Reader<'_>) -> Result<(), ParseError> {
        let key_at = reader.offset();
        let key = Key::read(reader)?;
        self.admit(key)
            .map_err(|expected| ParseError::new(key_at, expected))?;
        reader.take('=', "`=`")?;
        match key {
            Key::Initial => self.initial = Some(reader.seconds()?),
            Key::Max => {
                self.max_at = reader.offset();
                self.max = Some(reader.seconds()?);
            }
            Key::Factor => self.factor = Some(reader.factor()?),
            Key::Fixed => self.fixed = Some(reader.seconds()?),
            Key::Jitter => self.jitter = Some(reader.jitter()?),
        }
        Ok(())
    }

    /// Whether the key may follow what was read so far, or what was expected instead of it.
    fn admit(&self, key: Key) -> Result<(), &'static str> {
        let growing = self.initial.is_some() || self.max.is_some() || self.factor.is_some();
        let (repeated, excluded) = match key {
            Key::Initial => (self.initial.is_some(), self.fixed.is_some()),
            Key::Max => (self.max.is_some(), self.fixed.is_some()),
            Key::Factor => (self.factor.is_some(), self.fixed.is_some()),
            Key::Fixed => (self.fixed.is_some(), growing),
            Key::Jitter => (self.jitter.is_some(), false),
        };
        match (repeated, excluded) {
            (true, _) => Err("each key only once"),
            (_, true) => Err("either `fixed` or `initial`, `max` and `factor`"),
            (false, false) => Ok(()),
        }
    }

    fn into_policy(self, end: usize) -> Result<Backoff, ParseError> {
        let missing = |key| Err(ParseError::new(end, key));
        let policy = match (self.fixed, self.initial, self.max, self.factor) {
            (Some(fixed), ..) => Backoff::fixed(fixed),
            (None, Some(initial), Some(max), Some(factor)) => {
                Backoff::try_exponential(initial, max, factor)
                    .map_err(|_| ParseError::new(self.max_at, "a maximum not below `initial`"))?
            }
            (None, None, None, None) => return missing("`fixed` or `initial`, `max` and `factor`"),
            (None, None, ..) => return missing("`initial` as well"),
            (None, _, None, _) => return missing("`max` as well"),
            (None, _, _, None) => return missing("`factor` as well"),
        };
        Ok(policy.with_jitter(self.jitter.unwrap_or_default()))
    }
}

#[derive(Clone, Copy)]
enum Key {
    Initial,
    Max,
    Factor,
    Fixed,
    Jitter,
}

impl Key {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let at = reader.offset();
        match reader.word() {
            "initial" => Ok(Self::Initial),
            "max" => Ok(Self::Max),
            "factor" => Ok(Self::Factor),
            "fixed" => Ok(Self::Fixed),
            "jitter" => Ok(Self::Jitter),
            _ => Err(ParseError::new(
                at,
                "`initial`, `max`, `factor`, `fixed` or `jitter`",
            )),
        }
    }
}
