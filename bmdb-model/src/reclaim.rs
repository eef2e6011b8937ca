//! Reclaimed work: the work of sessions that have expired.

use crate::{Fence, MachineId, Process, SessionId};
use diesel::prelude::*;

/// Work of an expired session, and what its delay is computed from.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct LostItem {
    pub machine: MachineId,
    pub process: Process,
    pub session: SessionId,
    pub fence: Fence,
    /// How many times in a row the attempt has expired before.
    pub losses: i64,
    /// The process's delay after the first expired attempt, in seconds.
    pub loss_initial_seconds: i64,
    /// The process's longest delay, in seconds.
    pub loss_maximum_seconds: i64,
}

/// An attempt that was recorded as expired.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct LostAttempt {
    pub machine: MachineId,
    pub process: Process,
    pub fence: Fence,
    /// The expired session.
    pub session: SessionId,
    /// For how many seconds the machine backs off.
    pub delay_seconds: Option<i64>,
}
