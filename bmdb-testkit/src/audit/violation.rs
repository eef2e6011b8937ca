//! Violations: each with the facts to look it up in the database.

use bmdb_model::history::Outcome;
use bmdb_model::{Fence, Lane, MachineId, Process, SessionId};
use std::fmt;
use std::time::Duration;

/// An attempt: a row of `work_attempt`, or of `work_item` while the machine is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the row's key")]
pub struct AttemptRef {
    pub machine: MachineId,
    pub process: Process,
    pub fence: Fence,
}

impl fmt::Display for AttemptRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            machine,
            process,
            fence,
        } = self;
        write!(f, "machine {machine} {process} fence {fence}")
    }
}

/// Something that the audit found wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the variants' texts and messages explain the fields"
)]
pub enum Violation {
    /// Two attempts of one lane ran on a machine at once.
    #[error(
        "{later} started {overlap:?} before fence {} of {} had ended, both in lane {lane}",
        earlier.fence, earlier.process
    )]
    Overlap {
        lane: Lane,
        earlier: AttemptRef,
        later: AttemptRef,
        /// How long before the end of the earlier attempt the later one started.
        overlap: Duration,
    },
    /// A later claim of a lane got a smaller fence.
    #[error("{later} started after fence {} of the same lane, but has a smaller number", earlier.fence)]
    FenceWentBack {
        earlier: AttemptRef,
        later: AttemptRef,
    },
    /// An attempt ended before it started.
    #[error("{0} ended before it started")]
    EndedBeforeStart(AttemptRef),
    /// An attempt started inside a backoff.
    #[error("{attempt} started {early:?} inside the backoff that fence {imposed_by} had imposed")]
    InsideBackoff {
        attempt: AttemptRef,
        /// The attempt whose end imposed the backoff.
        imposed_by: Fence,
        early: Duration,
    },
    /// A failure recorded another interval than its policy gives. Intervals are seconds.
    #[error("{attempt} recorded an interval of {} after {}, its policy gives {expected} s",
        seconds(*.recorded), seconds(*.previous))]
    WrongInterval {
        attempt: AttemptRef,
        previous: Option<u32>,
        recorded: Option<u32>,
        expected: u32,
    },
    /// A worker got a claim whose end is not recorded.
    #[error("machine {machine} fence {fence} was claimed, but its end is not recorded")]
    NoEnd { machine: MachineId, fence: Fence },
    /// Several workers got the same fence for one machine.
    #[error("machine {machine} fence {fence} was claimed {times} times")]
    ClaimedTwice {
        machine: MachineId,
        fence: Fence,
        times: usize,
    },
    /// The acknowledged end is not the recorded one.
    #[error("machine {machine} fence {fence} was acknowledged as {acknowledged}, but is recorded as {}",
        outcome(*.recorded))]
    OtherEnd {
        machine: MachineId,
        fence: Fence,
        acknowledged: Outcome,
        recorded: Option<Outcome>,
    },
    /// The end of one attempt was acknowledged more than once.
    #[error("machine {machine} fence {fence} was acknowledged as ended {times} times")]
    EndedTwice {
        machine: MachineId,
        fence: Fence,
        times: usize,
    },
    /// An end was refused, and is recorded all the same.
    #[error("machine {machine} fence {fence} was refused its end, but is recorded as {outcome}")]
    RefusedEnd {
        machine: MachineId,
        fence: Fence,
        outcome: Outcome,
    },
    /// A machine is still claimed although every attempt should have ended.
    #[error("{attempt} is still claimed by session {session}")]
    StillClaimed {
        attempt: AttemptRef,
        session: SessionId,
    },
}

fn seconds(interval: Option<u32>) -> String {
    interval.map_or_else(|| "none".to_owned(), |seconds| format!("{seconds} s"))
}

fn outcome(recorded: Option<Outcome>) -> &'static str {
    recorded.map_or("nothing", Outcome::as_str)
}
