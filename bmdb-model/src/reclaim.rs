//! What the janitor reclaims: the work of sessions that have expired.

use crate::{Fence, MachineId, Process, SessionId};
use diesel::prelude::*;

/// Work held by an expired session, and what its delay is computed from.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct LostItem {
    /// The machine.
    pub machine: MachineId,
    /// The process.
    pub process: Process,
    /// The session.
    pub session: SessionId,
    /// Its claim's fence.
    pub fence: Fence,
    /// How many times in a row it was lost before.
    pub losses: i64,
    /// The process's delay after a first loss, in seconds.
    pub loss_initial_seconds: i64,
    /// The process's longest delay, in seconds.
    pub loss_maximum_seconds: i64,
}

/// An attempt that was recorded as expired.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct LostAttempt {
    /// The machine.
    pub machine: MachineId,
    /// The process.
    pub process: Process,
    /// The lost claim's fence.
    pub fence: Fence,
    /// The session that lost it.
    pub session: SessionId,
    /// How long the machine rests, in seconds.
    pub delay_seconds: Option<i64>,
}
