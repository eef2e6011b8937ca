//! Why a machine rests although nothing has failed: finishes changed nothing there, or do not last.

/// Why a machine rests although its process finishes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum RestCause {
    /// So many finishes in a row have left the machine due.
    Unproductive(i64),
    /// So many finishes in a row came each soon after the one before.
    Flapping(i64),
}

impl RestCause {
    /// By the counts of an item; `None` if it has no reason to rest.
    pub(crate) const fn of(unproductive: i64, flapping: i64) -> Option<Self> {
        match (unproductive, flapping) {
            (1.., _) => Some(Self::Unproductive(unproductive)),
            // The first finish of the row is not counted.
            (_, 2..) => Some(Self::Flapping(flapping.saturating_add(1))),
            _ => None,
        }
    }
}

impl std::fmt::Display for RestCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unproductive(1) => f.write_str("unproductive: finished and still due"),
            Self::Unproductive(times) => {
                write!(f, "unproductive: finished {times} times and still due")
            }
            Self::Flapping(times) => {
                write!(
                    f,
                    "flapping: finished {times} times, each time soon after the one before"
                )
            }
        }
    }
}
