//! Errors of operator actions.

use super::values::InvalidTag;
use crate::error::TxError;
use bmdb_model::process_control::Per;
use bmdb_model::{Fence, MachineId, Process, Provider, SessionId};
use std::time::Duration;

/// Why an operator action failed. Nothing was changed, unless the transaction's error says that its outcome
/// is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields explain themselves")]
pub enum OperatorError {
    /// There is no such session: it was closed, or has expired and was removed.
    #[error("there is no session {0}: it was closed, or has expired")]
    NoSuchSession(SessionId),
    /// The session's lease has ended already; the janitor frees its work.
    #[error("session {0} has expired already: the janitor frees what it holds")]
    SessionEnded(SessionId),
    /// No session has claimed the process on the machine: the attempt has ended, or never began.
    #[error("{process} is not claimed on machine {machine}")]
    NotHeld {
        machine: MachineId,
        process: Process,
    },
    /// The process is claimed under another fence than the expected one: look again before you continue.
    #[error(
        "{process} on machine {machine} is claimed under fence {held} now, and not under {asked}: it \
         has been claimed again"
    )]
    OtherFence {
        machine: MachineId,
        process: Process,
        asked: Fence,
        held: Fence,
    },
    /// An attempt is under way, and its end decides on the backoff.
    #[error(
        "session {session} is at work on {process} of machine {machine} (fence {fence}), and its \
         end decides on the backoff: wait, or release the work first"
    )]
    AtWork {
        machine: MachineId,
        process: Process,
        session: SessionId,
        fence: Fence,
    },
    /// There is no backoff: the process has not failed on the machine, or has finished since.
    #[error("{process} has no backoff on machine {machine}")]
    NoBackoff {
        machine: MachineId,
        process: Process,
    },
    /// The backoff has passed already: the next claim takes the machine.
    #[error("the backoff of {process} on machine {machine} has passed already")]
    BackoffPassed {
        machine: MachineId,
        process: Process,
    },
    /// The process has no such limit.
    #[error("{process} has no limit per {per}")]
    NoLimit { process: Process, per: Per },
    /// The process has no such breaker.
    #[error("{process} has no breaker per {per}")]
    NoBreaker { process: Process, per: Per },
    /// There is nothing to resume.
    #[error("{process} is not paused{}", scope(provider.as_ref(), *is_paused_as_a_whole))]
    NotPaused {
        process: Process,
        provider: Option<Provider>,
        /// The process is paused on all machines, so one provider cannot be resumed.
        is_paused_as_a_whole: bool,
    },
    /// The process is switched off already.
    #[error("{process} is switched off already")]
    IsOff { process: Process },
    /// The process is not switched off.
    #[error("{process} is not switched off")]
    IsOn { process: Process },
    /// Switching a process changes its definition, which the database user may not write.
    #[error(
        "{process} is not switched: that changes its definition, which only members of bmdb_owner may do; run \
         the command as the user who migrates ({reason})"
    )]
    MayNotDefine {
        process: Process,
        reason: bmdb_model::Error,
    },
    /// Other transactions kept the work items locked; nothing was changed.
    #[error(
        "{process} could not be changed within {waited:?}, because other transactions kept the work items \
         locked: wait for them or end them, and try again"
    )]
    Blocked { process: Process, waited: Duration },
    /// The tag cannot be set like that.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    /// The transaction failed.
    #[error(transparent)]
    Transaction(TxError),
}

fn scope(provider: Option<&Provider>, is_paused_as_a_whole: bool) -> String {
    match (provider, is_paused_as_a_whole) {
        (None, _) => String::new(),
        (Some(provider), false) => format!(" for {provider}"),
        (Some(provider), true) => format!(
            " for {provider} alone but as a whole: resume it as a whole, and pause the other providers"
        ),
    }
}

impl From<TxError> for OperatorError {
    fn from(error: TxError) -> Self {
        match error {
            TxError::Aborted(reason) => match reason.downcast::<Self>() {
                Ok(own) => *own,
                Err(reason) => Self::Transaction(TxError::Aborted(reason)),
            },
            other => Self::Transaction(other),
        }
    }
}

impl From<OperatorError> for TxError {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::Transaction(error) => error,
            own => Self::abort(own),
        }
    }
}
