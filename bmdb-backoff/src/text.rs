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
        let key = reader.word();
        let excluded = match key {
            "initial" | "max" | "factor" => self.fixed.is_some(),
            "fixed" => self.initial.is_some() || self.max.is_some() || self.factor.is_some(),
            "jitter" => false,
            _ => {
                return Err(ParseError::new(
                    key_at,
                    "`initial`, `max`, `factor`, `fixed` or `jitter`",
                ));
            }
        };
        if excluded {
            return Err(ParseError::new(
                key_at,
                "either `fixed` or `initial`, `max` and `factor`",
            ));
        }
        reader.take('=', "`=`")?;
        match key {
            "initial" => set_once(&mut self.initial, key_at, reader.seconds()?),
            "max" => {
                self.max_at = reader.offset();
                set_once(&mut self.max, key_at, reader.seconds()?)
            }
            "factor" => set_once(&mut self.factor, key_at, reader.factor()?),
            "fixed" => set_once(&mut self.fixed, key_at, reader.seconds()?),
            _ => set_once(&mut self.jitter, key_at, reader.jitter()?),
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

fn set_once<T>(field: &mut Option<T>, key_at: usize, value: T) -> Result<(), ParseError> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(ParseError::new(key_at, "each key only once")),
    }
}
