//! Sessions: the lease, its heartbeat, the claims it knows of, and its end.
//!
//! This room imports `db` and `telemetry`. The exception is [`session`], which holds only the public
//! methods of `Session`: it imports `work` as well, and no file of `session`, `work` and `maintenance`
//! imports it.

pub(crate) mod agents;
pub(crate) mod attempt_end;
pub(crate) mod claimed_fences;
pub(crate) mod cleanup;
pub(crate) mod close;
pub(crate) mod component;
pub(crate) mod core;
pub(crate) mod drain;
pub(crate) mod heartbeat;
mod heartbeat_thread;
pub(crate) mod lease;
pub(crate) mod listening;
pub(crate) mod listening_observer;
pub(crate) mod options;
#[allow(clippy::module_inception, reason = "the file is named after its type")]
mod session;

pub use session::Session;
