//! The three gates of a process on a machine, as they are returned.

use crate::history::PastAttempt;
use crate::hold::Hold;
use crate::{Fence, Lane, MachineId, Process, Provider, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;

/// A process on a machine, whether it has a work item, a workflow or a definition or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gates {
    /// The machine.
    pub machine: MachineId,
    /// The process.
    pub process: Process,
    /// When this was read, by the database's clock: what all other times are to be compared with.
    pub at: DateTime<Utc>,
    /// Whether the process has a definition. One without is its own lane and has no workflow.
    pub is_defined: bool,
    /// What says which machines need the process, if anything does.
    pub workflow: Option<Workflow>,
    /// Whether it has a work item: where it has none, the machine has never needed it.
    pub has_item: bool,
    /// Processes of one lane exclude each other on a machine.
    pub lane: Lane,
    /// The first gate.
    pub eligible: Eligible,
    /// The second gate.
    pub ready: Ready,
    /// The third gate: it is shut while there is a holder.
    pub claim: Option<CurrentClaim>,
    /// Whether the item says something else than the tags do: then the fleet has to be planned anew.
    pub is_stale: bool,
    /// How the process's last attempt on the machine ended, as far as history is kept; none if that is not
    /// among the last thousand there.
    pub last: Option<PastAttempt>,
}

impl Gates {
    /// Whether a claim that comes now takes the machine.
    #[must_use]
    pub const fn are_open(&self) -> bool {
        self.eligible.is_open && self.ready.is_open && self.claim.is_none()
    }
}

/// What says which machines need a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    /// The view.
    pub view: String,
    /// Whether its times move by writes that are not planned, such as heartbeats.
    pub replan_on_claim: bool,
}

/// The first gate: whether the tags say that the machine needs the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eligible {
    /// Whether the item says so, which is what claims look at.
    pub is_open: bool,
    /// The hold that shuts it for every process of the machine.
    pub hold: Option<Hold>,
    /// What the workflow's view says now.
    pub view: View,
    /// The tags that the view looks at, by name; none where there is no view.
    pub tags: Vec<TagState>,
    /// Whose queue the item is in.
    pub provider: Option<Provider>,
}

/// What a workflow's view says of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// The process has no workflow: it is worked on through explicit retrievals only.
    None,
    /// The machine needs the process, from this time on.
    Lists(When),
    /// The machine does not need it.
    DoesNotList,
    /// Nothing can be planned by the view, for this reason.
    Unusable(String),
}

/// A tag that a workflow looks at, and whether the machine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagState {
    /// The tag's table.
    pub table: String,
    /// Whether the machine has a row there.
    pub is_set: bool,
    /// The row's first column that is a time, and what it says.
    pub time: Option<(String, DateTime<Utc>)>,
    /// What it has to do with the machine not being listed.
    pub effect: Effect,
}

/// What a tag has to do with a machine not being listed by a view: found out by asking the view as if
/// the machine had the tag, or had it not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Without this tag the machine would be listed.
    KeepsOut,
    /// With this tag it would be listed.
    IsMissing,
    /// This tag alone would change nothing, or that was not asked.
    NoneAlone,
}

/// A time that may be no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// Then.
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

    /// The later one.
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

/// The second gate: the deadline that the workflow sets, and the backoff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Whether both have passed.
    pub is_open: bool,
    /// From when on the workflow has the machine worked on; `None` while it does not.
    pub due: Option<When>,
    /// The backoff on record, in force or passed.
    pub backoff: Option<Backoff>,
    /// When the gate opens, or opened.
    pub opens: When,
}

/// A backoff that is on record, from a failure or a loss until the next finish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    /// When it ends, or ended.
    pub until: DateTime<Utc>,
    /// Whether that is ahead.
    pub is_in_force: bool,
    /// Why the last attempt failed; none after a loss without a failure before it.
    pub cause: Option<String>,
    /// How many times in a row it has failed.
    pub failures: i64,
    /// How many times in a row it was lost.
    pub losses: i64,
    /// The interval the next one grows from, in seconds.
    pub last_interval_seconds: Option<i64>,
}

/// Who shuts the third gate.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct CurrentClaim {
    /// What it does: this process, or another one of its lane.
    pub process: Process,
    /// Its session.
    pub session: SessionId,
    /// Which program that is.
    pub component: String,
    /// Where and how that runs.
    pub runtime_info: String,
    /// The claim's fence.
    pub fence: Fence,
    /// Since when.
    pub started_at: DateTime<Utc>,
    /// When the session's lease ends if no further heartbeat comes; the janitor frees what it held then.
    pub deadline: DateTime<Utc>,
    /// Whether that is ahead.
    pub is_live: bool,
}
