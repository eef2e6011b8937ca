//! What happens in a control loop, for those who show or count it.

use super::machine::Machine;
use crate::error::TxError;
use crate::work::Work;
use bmdb_backoff::Seconds;
use bmdb_model::{Fence, SessionId};
use chrono::{DateTime, Utc};
use std::error::Error;
use std::time::Duration;

/// Something that has happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A session has begun; everything is done under it from here on.
    SessionStarted {
        /// It.
        session: SessionId,
    },
    /// The session is lost, and what is worked on is being stopped.
    SessionLost {
        /// It.
        session: SessionId,
    },
    /// The database could not be asked, and will be asked again.
    Waiting {
        /// Why.
        error: &'a (dyn Error + Send + Sync + 'static),
        /// For how long.
        delay: Duration,
    },
    /// A machine was claimed and is worked on from now on.
    Started {
        /// The work.
        work: &'a Work,
        /// The machine.
        machine: &'a Machine,
    },
    /// Working on a machine came to its end, which was recorded unless it says otherwise.
    Ended {
        /// The machine.
        machine: &'a Machine,
        /// The claim's fence.
        fence: Fence,
        /// What came of it.
        outcome: &'a Outcome,
        /// How long it was worked on, the end included.
        took: Duration,
    },
    /// Nothing more is taken on.
    Draining {
        /// How many machines are worked on.
        running: usize,
        /// How long they may take.
        limit: Duration,
    },
}

/// How working on a machine ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It is finished, and what was to be written is committed.
    Finished,
    /// It has failed.
    Failed {
        /// Why.
        cause: String,
        /// The interval of the backoff.
        interval: Seconds,
        /// When the machine may be worked on again, by the database's clock.
        until: DateTime<Utc>,
        /// Whether the machine was put on hold.
        put_on_hold: bool,
    },
    /// It was given back without a verdict.
    Canceled,
    /// The lease was lost, or the work was taken away: nothing was recorded here.
    Lost,
    /// Its end could not be recorded, or it is not known whether it was.
    Unrecorded {
        /// Why.
        reason: TxError,
    },
}

/// What a loop has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Summary {
    /// How many sessions it has started.
    pub sessions: u64,
    /// How many machines it has taken on, each time that it did; not those that it gave back at once
    /// because they could not be read, or because it had them in the same go ([`LoopOptions::once`](super::LoopOptions::once)).
    pub claimed: u64,
    /// How many of these are finished.
    pub finished: u64,
    /// How many have failed.
    pub failed: u64,
    /// How many of the failed were put on hold.
    pub put_on_hold: u64,
    /// How many were given back without a verdict.
    pub canceled: u64,
    /// How many were lost, or came to an end that could not be recorded.
    pub lost: u64,
}

impl Summary {
    pub(super) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Finished => self.finished += 1,
            Outcome::Failed { put_on_hold, .. } => {
                self.failed += 1;
                self.put_on_hold += u64::from(*put_on_hold);
            }
            Outcome::Canceled => self.canceled += 1,
            Outcome::Lost | Outcome::Unrecorded { .. } => self.lost += 1,
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            sessions,
            claimed,
            finished,
            failed,
            put_on_hold,
            canceled,
            lost,
        } = self;
        write!(
            f,
            "{claimed} claimed: {finished} finished, {failed} failed ({put_on_hold} of them put on hold), \
             {canceled} canceled, {lost} lost; sessions: {sessions}"
        )
    }
}
