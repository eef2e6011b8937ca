//! Events: what happens in a control loop, to show or count it.

use super::machine::Machine;
use crate::error::TxError;
use crate::work::Work;
use bmdb_backoff::Seconds;
use bmdb_model::work::RestCause;
use bmdb_model::{Fence, Provider, SessionId};
use chrono::{DateTime, Utc};
use std::error::Error;
use std::time::Duration;

/// What has happened.
#[derive(Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the other fields explain themselves")]
pub enum Event<'a> {
    /// The loop has started a session, and claims under it from here on.
    SessionStarted { session: SessionId },
    /// The session is lost, and attempts under it are being stopped.
    SessionLost { session: SessionId },
    /// The database could not be used; the loop retries after a delay.
    Waiting {
        error: &'a (dyn Error + Send + Sync + 'static),
        delay: Duration,
    },
    /// The last attempts failed because of the host ([`Failure::host`](super::Failure::host)), and the loop
    /// claims nothing for a while.
    HostFailing {
        /// Why the last one failed, for people.
        cause: &'a str,
        /// How many have failed in a row.
        failures: u32,
        delay: Duration,
    },
    /// The loop has claimed a machine and begins to process it.
    Started {
        work: &'a Work,
        machine: &'a Machine,
    },
    /// An attempt has ended. The database has recorded it unless the outcome says otherwise.
    Ended {
        machine: &'a Machine,
        fence: Fence,
        outcome: &'a Outcome,
        /// How long it took, including the end.
        took: Duration,
    },
    /// The loop shuts down while attempts run: it claims nothing more.
    Draining {
        /// How many attempts run.
        running: usize,
        /// How long they may continue.
        limit: Duration,
    },
}

/// How an attempt ended.
#[derive(Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the other fields explain themselves")]
pub enum Outcome {
    /// It is finished, and its [`Commit`](super::Commit) is written.
    Finished {
        /// Why the machine rests now, if it does: it is still due, or is finished again and again.
        rest: Option<RestCause>,
    },
    /// It has failed.
    Failed {
        /// Why, for people.
        cause: String,
        interval: Seconds,
        /// When the machine may be worked on again, by the database's clock.
        until: DateTime<Utc>,
        put_on_hold: bool,
        /// Whether only the process was put on hold on the machine.
        process_on_hold: bool,
    },
    /// The machine was released; the attempt neither finished nor failed.
    Canceled,
    /// The machine was released and rests: [`Failure::snooze`](super::Failure::snooze).
    Snoozed { rest: Duration },
    /// The machine was released, and its provider paused:
    /// [`Failure::pause_provider`](super::Failure::pause_provider).
    ProviderPaused {
        cause: String,
        provider: Provider,
        /// When the pause in force ends; `None` if only when somebody resumes.
        until: Option<DateTime<Utc>>,
    },
    /// The machine was released, because the host could not process it:
    /// [`Failure::host`](super::Failure::host).
    HostFailed { cause: String },
    /// The lease was lost, or the work was ended by others: the loop recorded nothing.
    Lost,
    /// Its end could not be recorded, or it is not known whether it was.
    Unrecorded {
        /// The error of the last try.
        reason: TxError,
    },
}

/// What a loop has done, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the other fields explain themselves")]
pub struct Summary {
    pub sessions: u64,
    /// How many attempts it has started. Machines that it gave back at once are not counted: it could not
    /// read them, or had processed them before ([`LoopOptions::once`](super::LoopOptions::once)).
    pub claimed: u64,
    pub finished: u64,
    /// How many of those that finished left a machine that rests, because it was still due or is finished
    /// again and again.
    pub unproductive: u64,
    pub failed: u64,
    /// How many of those that failed have put their machine, or the process there, on hold.
    pub put_on_hold: u64,
    /// How many had no result; also those that were snoozed or have paused a provider.
    pub canceled: u64,
    /// How many of those that were canceled failed because of the host.
    pub host_failed: u64,
    /// How many were lost, or had an end that could not be recorded.
    pub lost: u64,
}

impl Summary {
    pub(super) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Finished { rest } => {
                self.finished += 1;
                self.unproductive += u64::from(rest.is_some());
            }
            Outcome::Failed {
                put_on_hold,
                process_on_hold,
                ..
            } => {
                self.failed += 1;
                self.put_on_hold += u64::from(*put_on_hold || *process_on_hold);
            }
            Outcome::Canceled | Outcome::Snoozed { .. } | Outcome::ProviderPaused { .. } => {
                self.canceled += 1;
            }
            Outcome::HostFailed { .. } => {
                self.canceled += 1;
                self.host_failed += 1;
            }
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
            unproductive,
            failed,
            put_on_hold,
            canceled,
            host_failed,
            lost,
        } = self;
        write!(
            f,
            "{claimed} claimed: {finished} finished ({unproductive} of them without effect), {failed} failed \
             ({put_on_hold} of them put on hold), {canceled} canceled ({host_failed} of them because of this \
             host), {lost} lost; sessions: {sessions}"
        )
    }
}
