//! Work: claiming machines, waiting for them, and ending attempts.
//!
//! This room imports `db`, `telemetry` and `session`, but not `session::session`.

pub(crate) mod claim;
pub(crate) mod claim_one;
mod claim_open_queues;
pub(crate) mod end;
mod end_aside;
pub(crate) mod end_batcher;
pub(crate) mod end_error;
mod end_transaction;
pub(crate) mod inner;
mod open_attempt;
mod pending_claim;
pub(crate) mod poll_options;
pub(crate) mod poller;
pub(crate) mod queue_cursor;
pub(crate) mod rate_limiter;
mod refused_text;
mod replan_on_claim;
#[allow(clippy::module_inception, reason = "the file is named after its type")]
mod work;

pub use work::Work;
