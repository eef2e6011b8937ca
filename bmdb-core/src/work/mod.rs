//! Work: claiming machines, waiting for them, and ending attempts.

pub(crate) mod attempt_end;
pub(crate) mod claim;
mod claim_one;
pub(crate) mod end;
pub(crate) mod end_batcher;
pub(crate) mod end_error;
mod end_transaction;
pub(crate) mod in_flight;
pub(crate) mod listener;
mod open_attempt;
pub(crate) mod poll_options;
pub(crate) mod poller;
pub(crate) mod queue_cursor;
pub(crate) mod rate_limiter;
mod replan_on_claim;
#[allow(clippy::module_inception, reason = "the file is named after its type")]
mod work;

pub use work::Work;
