//! The state of a work item: which of its gates are closed, in one word.

use chrono::{DateTime, Utc};
use std::fmt;
use std::str::FromStr;

/// The state of a process on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ItemState {
    /// It may be claimed if its lane is free. For a process that replans on claim, the next claim finds
    /// out by the heartbeats whether it really is due.
    Due,
    /// It is due, but a limit of its process leaves no room for another start now.
    Limited,
    /// It is due, but its process is paused, or paused for its provider.
    Paused,
    /// It becomes due at a time that its workflow sets.
    Waiting,
    /// It waits out a backoff after a failure or an expired attempt.
    BackingOff,
    /// A session has claimed it.
    Claimed,
    /// The machine's tags do not require it, or the machine is on hold.
    NotEligible,
}

/// The text is not a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid state {0:?}: expected due, limited, paused, waiting, backing-off, claimed or \
         not-eligible"
)]
pub struct InvalidState(String);

impl ItemState {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Due,
        Self::Limited,
        Self::Paused,
        Self::Waiting,
        Self::BackingOff,
        Self::Claimed,
        Self::NotEligible,
    ];

    /// The name that [`FromStr`] parses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Limited => "limited",
            Self::Paused => "paused",
            Self::Waiting => "waiting",
            Self::BackingOff => "backing-off",
            Self::Claimed => "claimed",
            Self::NotEligible => "not-eligible",
        }
    }

    /// The state that these gates of an item make at the time `now`. Whether a due item is limited or
    /// paused is not in its row.
    #[must_use]
    pub fn of(
        eligible: bool,
        is_claimed: bool,
        plan_at: Option<DateTime<Utc>>,
        backoff_until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Self {
        if is_claimed {
            Self::Claimed
        } else if backoff_until.is_some_and(|until| until > now) {
            Self::BackingOff
        } else if !eligible {
            Self::NotEligible
        } else if plan_at.is_some_and(|at| at > now) {
            Self::Waiting
        } else {
            Self::Due
        }
    }

    /// Whether it depends on the queue that a due item is in.
    pub(crate) const fn is_of_queue(self) -> bool {
        matches!(self, Self::Due | Self::Limited | Self::Paused)
    }

    /// The same condition for a row `i` of `work_item`, without that on its queue. A machine without a row
    /// is not eligible.
    pub(crate) const fn condition(self) -> &'static str {
        match self {
            Self::Claimed => "i.session_id IS NOT NULL",
            Self::BackingOff => "i.session_id IS NULL AND coalesce(i.backoff_until > now(), false)",
            Self::Due | Self::Limited | Self::Paused => {
                "i.session_id IS NULL AND i.eligible AND i.ready_at <= now()"
            }
            Self::Waiting => {
                "i.session_id IS NULL AND i.eligible AND i.plan_at > now() \
                 AND NOT coalesce(i.backoff_until > now(), false)"
            }
            Self::NotEligible => {
                "i.session_id IS NULL AND NOT i.eligible \
                 AND NOT coalesce(i.backoff_until > now(), false)"
            }
        }
    }
}

impl fmt::Display for ItemState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ItemState {
    type Err = InvalidState;

    fn from_str(text: &str) -> Result<Self, InvalidState> {
        let named = Self::ALL.into_iter().find(|state| state.as_str() == text);
        named.ok_or_else(|| InvalidState(text.chars().take(64).collect()))
    }
}
