//! Invariants: what must always hold, and the breaches that the judge reports.

use std::fmt;

/// What must always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    Lane,
    Backoff,
    Acknowledged,
    Interval,
    OneEnd,
    DeadHolder,
    Plan,
    Limit,
    Slot,
    Pause,
    Unheard,
}

impl Invariant {
    pub(crate) const ALL: [Self; 11] = [
        Self::Lane,
        Self::Backoff,
        Self::Acknowledged,
        Self::Interval,
        Self::OneEnd,
        Self::DeadHolder,
        Self::Plan,
        Self::Limit,
        Self::Slot,
        Self::Pause,
        Self::Unheard,
    ];

    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::Lane => "I1 at most one session works in a lane of a machine",
            Self::Backoff => "I2 no attempt starts inside a backoff",
            Self::Acknowledged => "I3 acknowledged ends are recorded, and no end is half recorded",
            Self::Interval => "I4 intervals are those of the algorithm",
            Self::OneEnd => "I5 every attempt has exactly one end",
            Self::DeadHolder => "I6 no machine stays claimed by a dead session",
            Self::Plan => "I7 machines are due exactly when their workflow says so",
            Self::Limit => "I8 no more run at once, or start within a window, than the limits say",
            Self::Slot => "I9 the slots that are taken are those of claimed machines",
            Self::Pause => "I10 nothing starts while it is paused",
            Self::Unheard => "I11 no machine is recovered because nobody listened to its agent",
        }
    }
}

/// A violation of an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) invariant: Invariant,
    pub(crate) what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant.rule(), self.what)
    }
}
