//! Why a control loop ended by itself.

use crate::error::{SessionError, TxError};
use bmdb_model::Process;

/// Why a loop ended without a shutdown. What it was working on has ended by then, as at a shutdown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoopError {
    /// Options with which the loop cannot work.
    #[error("{field}: {problem}")]
    InvalidOptions {
        /// The field of [`LoopOptions`](super::LoopOptions).
        field: &'static str,
        /// What is wrong, and what was expected.
        problem: &'static str,
    },
    /// No session can be started, and waiting would not help.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The process has no workflow, so no machine is ever due for it. Its name may be misspelt, or its
    /// migration missing.
    #[error(
        "the process {process} has no workflow, so no machine is ever due for it: is it misspelt, or \
         not defined in this database yet?"
    )]
    NoWorkflow {
        /// The process.
        process: Process,
    },
    /// With [`LoopOptions::once`](super::LoopOptions::once): the host cannot process machines
    /// ([`Failure::host`](super::Failure::host)). Those that are left are given back.
    #[error("this host cannot process machines: {cause}")]
    HostFails {
        /// Why the last attempt failed.
        cause: String,
    },
    /// No machine can be claimed, and waiting would not help.
    #[error("claiming machines: {0}")]
    Claim(#[from] TxError),
}
