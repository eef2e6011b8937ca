//! Sessions: the lease, its heartbeat, what it has claimed, and its end.

pub(crate) mod agents;
pub(crate) mod claimed_fences;
pub(crate) mod cleanup;
mod close;
pub(crate) mod component;
mod drain;
pub(crate) mod heartbeat;
pub(crate) mod lease;
pub(crate) mod options;
#[allow(clippy::module_inception, reason = "the file is named after its type")]
mod session;
mod tags;

pub use session::Session;
pub(crate) use session::SessionInner;
