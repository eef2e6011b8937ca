//! The beginning of a machine's id, as people type it.

use crate::MachineId;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A UUID has this many hex digits.
const DIGITS: usize = 32;

/// The first hex digits of a machine's id, with or without hyphens: `67e5` or `67e55044-10`.
///
/// ```
/// use bmdb_model::IdPrefix;
///
/// let prefix: IdPrefix = "67E55044-10".parse()?;
/// assert_eq!(prefix.to_string(), "67e5504410");
/// assert_eq!(prefix.first_id().to_string(), "67e55044-1000-0000-0000-000000000000");
/// assert_eq!(prefix.last_id().to_string(), "67e55044-10ff-ffff-ffff-ffffffffffff");
/// # Ok::<(), bmdb_model::InvalidPrefix>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdPrefix {
    digits: String,
}

/// The text cannot be the beginning of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid id prefix {text:?}: expected 1 to 32 hex digits, with or without hyphens")]
pub struct InvalidPrefix {
    text: String,
}

impl IdPrefix {
    /// The smallest id with this prefix.
    #[must_use]
    pub fn first_id(&self) -> MachineId {
        self.filled_with('0')
    }

    /// The largest id with this prefix.
    #[must_use]
    pub fn last_id(&self) -> MachineId {
        self.filled_with('f')
    }

    /// The number of digits.
    #[must_use]
    pub fn digits(&self) -> usize {
        self.digits.len()
    }

    fn filled_with(&self, digit: char) -> MachineId {
        let filled = format!(
            "{}{}",
            self.digits,
            digit.to_string().repeat(DIGITS - self.digits.len())
        );
        // 32 hex digits always are a number.
        Uuid::from_u128(u128::from_str_radix(&filled, 16).unwrap_or_default()).into()
    }
}

impl FromStr for IdPrefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits.is_empty() || digits.len() > DIGITS || !is_hex {
            let text = text.chars().take(64).collect();
            return Err(InvalidPrefix { text });
        }
        Ok(Self {
            digits: digits.to_ascii_lowercase(),
        })
    }
}

impl fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits)
    }
}

#[cfg(test)]
mod tests {
    use super::IdPrefix;

    #[test]
    fn a_whole_id_begins_with_itself() {
        let prefix: IdPrefix = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
        assert_eq!(prefix.first_id(), prefix.last_id());
        assert_eq!(prefix.digits(), 32);
    }

    #[test]
    fn what_no_id_begins_with_is_refused() {
        for text in ["", "-", "67g5", " 67e5", "é", &"0".repeat(33)] {
            let refused = text.parse::<IdPrefix>();
            assert!(refused.is_err(), "{text}: {refused:?}");
        }
    }
}
