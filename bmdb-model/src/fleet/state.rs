//! The state of a work item: which of its gates are shut, in one word.

use chrono::{DateTime, Utc};
use std::fmt;
use std::str::FromStr;

/// What a process is about to do on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ItemState {
    /// It may be claimed, but for its lane. Of a time-driven process: it seems so, until a claim has
    /// looked at the heartbeats.
    Due,
    /// It will be due by itself, at a time that its workflow says.
    Waiting,
    /// It failed or was lost, and waits for that.
    BackingOff,
    /// A session has claimed it.
    Claimed,
    /// The machine's tags do not call for it, or it is on hold.
    NotEligible,
}

/// A text that is no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no state; expected due, waiting, backing-off, claimed or not-eligible")]
pub struct InvalidState(String);

impl ItemState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Due,
        Self::Waiting,
        Self::BackingOff,
        Self::Claimed,
        Self::NotEligible,
    ];

    /// Its name, as [`FromStr`] reads it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Waiting => "waiting",
            Self::BackingOff => "backing-off",
            Self::Claimed => "claimed",
            Self::NotEligible => "not-eligible",
        }
    }

    /// The state that these gates make at the time `now`.
    #[must_use]
    pub fn of(
        eligible: bool,
        held: bool,
        plan_at: Option<DateTime<Utc>>,
        backoff_until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Self {
        if held {
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

    /// The same of a row `i` of `work_item`. A machine without a row is not eligible.
    pub(crate) const fn condition(self) -> &'static str {
        match self {
            Self::Claimed => "i.session_id IS NOT NULL",
            Self::BackingOff => "i.session_id IS NULL AND coalesce(i.backoff_until > now(), false)",
            Self::Due => "i.session_id IS NULL AND i.eligible AND i.ready_at <= now()",
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
