//! The columns of attempts that one statement ends, and what became of each.

use super::attempt::Attempt;
use crate::{Fence, MachineId, Process};
use chrono::{DateTime, Utc};
use std::collections::HashMap;

/// The result of a statement that ends an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended<T> {
    /// The attempt is ended.
    Done(T),
    /// The session has expired; nothing was written.
    SessionExpired,
    /// The session is alive but does not have this attempt any more; nothing was written.
    Lost,
    /// Another transaction has locked the item, or the machine about which something was to be written, and
    /// this one did not wait; nothing was written.
    Busy,
}

impl<T> Ended<T> {
    /// The same result with another value.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Ended<U> {
        match self {
            Self::Done(value) => Ended::Done(map(value)),
            Self::SessionExpired => Ended::SessionExpired,
            Self::Lost => Ended::Lost,
            Self::Busy => Ended::Busy,
        }
    }
}

/// The columns of attempts, as arrays.
pub(super) struct Attempts<'a> {
    pub(super) machines: Vec<MachineId>,
    pub(super) processes: Vec<&'a Process>,
    pub(super) fences: Vec<Fence>,
    pub(super) started_at: Vec<DateTime<Utc>>,
}

impl<'a> Attempts<'a> {
    pub(super) fn of(attempts: impl Iterator<Item = &'a Attempt> + Clone) -> Self {
        Self {
            machines: attempts.clone().map(|a| a.machine).collect(),
            processes: attempts.clone().map(|a| &a.process).collect(),
            fences: attempts.clone().map(|a| a.fence).collect(),
            started_at: attempts.map(|a| a.started_at).collect(),
        }
    }

    /// The result for each attempt, in order. A fence is never used twice, so it identifies its
    /// attempt.
    pub(super) fn outcomes<T: Copy>(
        &self,
        is_alive: bool,
        ended: &HashMap<Fence, T>,
    ) -> Vec<Ended<T>> {
        let outcome = |fence: &Fence| match ended.get(fence) {
            Some(value) => Ended::Done(*value),
            None if is_alive => Ended::Lost,
            None => Ended::SessionExpired,
        };
        self.fences.iter().map(outcome).collect()
    }
}

/// The result of a batch of one.
pub(super) fn only<T>(ended: Vec<Ended<T>>) -> Ended<T> {
    ended.into_iter().next().unwrap_or(Ended::Lost)
}
