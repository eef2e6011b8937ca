//! Violations: what must not happen, with the facts to find it in the database.

use bmdb_model::history::Outcome;
use bmdb_model::{Fence, Lane, MachineId, Process, SessionId};
use std::fmt;
use std::time::Duration;

/// An attempt: a row of `work_attempt`, or of `work_item` while the machine is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The machine.
    pub machine: MachineId,
    /// The process.
    pub process: Process,
    /// The claim's fence.
    pub fence: Fence,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "machine {} {} fence {}",
            self.machine, self.process, self.fence
        )
    }
}

/// Something that must not have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Two attempts of one lane ran on a machine at once.
    #[error(
        "{later} started {overlap:?} before fence {} of {} had ended, both in lane {lane}",
        earlier.fence, earlier.process
    )]
    Overlap {
        /// The shared lane.
        lane: Lane,
        /// The attempt that was running.
        earlier: Place,
        /// The attempt that started into it.
        later: Place,
        /// How long before the end of the other.
        overlap: Duration,
    },
    /// A later claim of a lane got a smaller fence.
    #[error("{later} started after fence {} of the same lane, but has a smaller number", earlier.fence)]
    FenceWentBack {
        /// The attempt that started first.
        earlier: Place,
        /// The one that started later.
        later: Place,
    },
    /// An attempt ended before it started.
    #[error("{0} ended before it started")]
    EndedBeforeStart(Place),
    /// An attempt started within a backoff.
    #[error("{attempt} started {early:?} inside the backoff that fence {imposed_by} had imposed")]
    InsideBackoff {
        /// The attempt that started too early.
        attempt: Place,
        /// The attempt whose end imposed the backoff.
        imposed_by: Fence,
        /// How much too early.
        early: Duration,
    },
    /// The interval recorded for a failure differs from its policy's.
    #[error("{attempt} recorded an interval of {} after {}, its policy gives {expected} s",
        seconds(*.recorded), seconds(*.previous))]
    WrongInterval {
        /// The failed attempt.
        attempt: Place,
        /// The interval of the previous failure, if there is one since the last finish.
        previous: Option<u32>,
        /// The recorded interval.
        recorded: Option<u32>,
        /// The policy's interval.
        expected: u32,
    },
    /// A worker got a claim whose end is not recorded.
    #[error("machine {machine} fence {fence} was claimed, but its end is not recorded")]
    NoEnd {
        /// The machine.
        machine: MachineId,
        /// The claim's fence.
        fence: Fence,
    },
    /// Two workers got the same fence for one machine.
    #[error("machine {machine} fence {fence} was claimed {times} times")]
    ClaimedTwice {
        /// The machine.
        machine: MachineId,
        /// The claim's fence.
        fence: Fence,
        /// How often.
        times: usize,
    },
    /// The recorded end differs from the one that was acknowledged to a worker.
    #[error("machine {machine} fence {fence} was acknowledged as {acknowledged}, but is recorded as {}",
        outcome(*.recorded))]
    OtherEnd {
        /// The machine.
        machine: MachineId,
        /// The claim's fence.
        fence: Fence,
        /// The acknowledged outcome.
        acknowledged: Outcome,
        /// The recorded outcome, if there is one.
        recorded: Option<Outcome>,
    },
    /// The end of one attempt was acknowledged more than once.
    #[error("machine {machine} fence {fence} was acknowledged as ended {times} times")]
    EndedTwice {
        /// The machine.
        machine: MachineId,
        /// The claim's fence.
        fence: Fence,
        /// How often.
        times: usize,
    },
    /// An end that was refused to a worker is recorded.
    #[error("machine {machine} fence {fence} was refused its end, but is recorded as {outcome}")]
    RefusedEnd {
        /// The machine.
        machine: MachineId,
        /// The claim's fence.
        fence: Fence,
        /// The refused outcome.
        outcome: Outcome,
    },
    /// A machine is still claimed although everything should have ended.
    #[error("{attempt} is still held by session {session}")]
    StillHeld {
        /// The attempt that has not ended.
        attempt: Place,
        /// The session that claimed it.
        session: SessionId,
    },
}

fn seconds(interval: Option<u32>) -> String {
    interval.map_or_else(|| "none".to_owned(), |seconds| format!("{seconds} s"))
}

fn outcome(recorded: Option<Outcome>) -> &'static str {
    recorded.map_or("nothing", Outcome::as_str)
}
