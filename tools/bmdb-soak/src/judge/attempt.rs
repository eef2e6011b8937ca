//! An attempt, as the database's log has it.

use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, Process, SessionId};

/// An attempt that has ended. Times are microseconds since the epoch.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) fence: Fence,
    pub(super) machine: MachineId,
    pub(super) process: Process,
    pub(super) session: SessionId,
    pub(super) started: i64,
    pub(super) ended: i64,
    pub(super) outcome: Outcome,
    pub(super) interval: Option<i64>,
}
