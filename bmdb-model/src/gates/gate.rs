//! What a gate says.

use crate::agent::Silence;
use crate::fleet::ItemState;
use crate::history::PastAttempt;
use crate::hold::Hold;
use crate::plan::PlanFailure;
use crate::process_control::ProcessGate;
use crate::work::RestCause;
use crate::{Fence, Lane, MachineId, Process, Provider, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;

/// The gates of a process on a machine, with or without a work item, a workflow or a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Gates {
    pub machine: MachineId,
    pub process: Process,
    /// When this was read, by the database's clock: compare all other times with it.
    pub at: DateTime<Utc>,
    /// Whether the process has a definition. Without one it is its own lane and has no workflow.
    pub is_defined: bool,
    /// The view that says which machines need the process, if there is one.
    pub workflow: Option<Workflow>,
    /// Whether there is a work item. Without one, the machine has never needed the process.
    pub has_item: bool,
    /// Processes of one lane exclude each other on a machine.
    pub lane: Lane,
    /// The first gate.
    pub eligible: Eligible,
    /// The second gate.
    pub ready: Ready,
    /// The third gate: it is closed while a session has claimed the lane.
    pub claim: Option<CurrentClaim>,
    /// The fourth gate: it is closed by pauses and by limits that are reached. For the provider in whose
    /// queue the item is, or else the machine's.
    pub stops: Vec<ProcessGate>,
    /// Whether the item contradicts the tags: then the fleet has to be replanned.
    pub is_stale: bool,
    /// Whether the process's workflow fails, for this machine or another one. The items of such machines
    /// stay as they were planned.
    pub not_plannable: Option<PlanFailure>,
    /// How the process's last attempt on the machine ended. `None` if the history has no such attempt
    /// among the machine's last thousand.
    pub last: Option<PastAttempt>,
    /// How the silence of the machine's agent is counted, if the workflow depends on it.
    pub silence: Option<Silence>,
}

impl Gates {
    /// The state of the process on the machine, in one word.
    #[must_use]
    pub fn state(&self) -> ItemState {
        let claim = self.claim.as_ref();
        if claim.is_some_and(|claim| claim.process == self.process) {
            ItemState::Claimed
        } else if self.ready.backoff.as_ref().is_some_and(|b| b.is_in_force) {
            ItemState::BackingOff
        } else if !self.eligible.is_open {
            ItemState::NotEligible
        } else if !self.ready.is_open {
            ItemState::Waiting
        } else {
            match self.stops.first() {
                None => ItemState::Due,
                Some(ProcessGate::Paused(_)) => ItemState::Paused,
                Some(ProcessGate::Limited { .. }) => ItemState::Limited,
            }
        }
    }

    /// Whether a claim made now would take the machine.
    #[must_use]
    pub fn are_open(&self) -> bool {
        self.eligible.is_open && self.ready.is_open && self.claim.is_none() && self.stops.is_empty()
    }
}

/// The view that says which machines need a process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Workflow {
    /// The view's name.
    pub view: String,
    /// Whether its times move by writes that are not planned, such as heartbeats, so that claims
    /// replan.
    pub replan_on_claim: bool,
}

/// The first gate: whether the tags say that the machine needs the process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Eligible {
    /// Whether the item says so, and nothing is on hold.
    pub is_open: bool,
    /// The hold that closes this gate for every process of the machine.
    pub hold: Option<Hold>,
    /// The hold that closes this gate for this process only.
    pub process_hold: Option<Hold>,
    /// What the workflow's view says now.
    pub view: View,
    /// The tags that the view reads, by name; empty without a view.
    pub tags: Vec<TagState>,
    /// The provider in whose queue the item is.
    pub provider: Option<Provider>,
}

/// What a workflow's view says of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum View {
    /// The process has no workflow: it is claimed through explicit retrievals only.
    None,
    /// The machine needs the process, from this time on.
    Lists(When),
    /// The machine does not need it.
    DoesNotList,
    /// The view cannot be planned by, for this reason.
    Unusable(String),
}

/// A tag that a workflow reads, and whether the machine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TagState {
    /// The tag's table.
    pub table: String,
    /// Whether the machine has a row there.
    pub is_set: bool,
    /// The row's first column of type timestamptz, and its value.
    pub time: Option<(String, DateTime<Utc>)>,
    /// Whether the tag decides that the machine is not listed.
    pub effect: Effect,
}

/// Whether a tag decides that a view does not list a machine. The view is queried as if the machine had
/// the tag, or did not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Effect {
    /// Without this tag the view would list the machine.
    KeepsOut,
    /// With this tag the view would list the machine.
    IsMissing,
    /// This tag alone changes nothing, or that was not determined.
    NoneAlone,
}

/// When something happens: now, at a given time, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[allow(missing_docs, reason = "variants without a comment explain themselves")]
pub enum When {
    Now,
    At(DateTime<Utc>),
    /// Never, unless something changes.
    Never,
}

impl When {
    pub(super) fn of(time: Option<DateTime<Utc>>, is_never: bool) -> Self {
        match time {
            _ if is_never => Self::Never,
            Some(time) => Self::At(time),
            None => Self::Now,
        }
    }

    /// The later of the two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Now, when) | (when, Self::Now) => when,
            (Self::At(one), Self::At(other)) => Self::At(one.max(other)),
        }
    }

    pub(super) fn has_come(self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Now => true,
            Self::At(time) => time <= now,
            Self::Never => false,
        }
    }
}

/// The second gate: the time that the workflow sets, and the backoff.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Ready {
    /// Whether both have passed.
    pub is_open: bool,
    /// When the workflow makes the machine due; `None` while it does not.
    pub due: Option<When>,
    /// The recorded backoff, in force or passed.
    pub backoff: Option<Backoff>,
    /// When the gate opens, or opened.
    pub opens: When,
}

/// A recorded backoff. It is kept from a failure or an expired attempt until the next finish.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Backoff {
    /// When it ends, or ended.
    pub until: DateTime<Utc>,
    pub is_in_force: bool,
    /// Why the last attempt failed; `None` after an expired attempt without a failure before it.
    pub cause: Option<String>,
    /// How many times in a row the process has failed.
    pub failures: i64,
    /// How many times in a row its attempt has expired.
    pub losses: i64,
    /// The interval from which the next one is computed, in seconds.
    pub last_interval_seconds: Option<i64>,
    /// Why the machine rests, or rested, although the last attempt finished. After a failure the rest is over,
    /// and this stays until the next finish.
    pub rest: Option<RestCause>,
}

/// The claim that closes the third gate.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct CurrentClaim {
    /// The claimed process: this one, or another one of its lane.
    pub process: Process,
    pub session: SessionId,
    pub component: String,
    pub runtime_info: String,
    pub fence: Fence,
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
    /// When the session's lease ends if no further heartbeat comes. The janitor reclaims its work then.
    pub deadline: DateTime<Utc>,
    /// Whether that deadline is ahead.
    pub is_live: bool,
    /// How far a heartbeat moves the deadline.
    pub interval_seconds: i64,
    /// Whether the deadline is farther away than that, because the database's clock was set back. A janitor ends
    /// the lease after the interval, unless a heartbeat arrives.
    pub is_overlong: bool,
}
