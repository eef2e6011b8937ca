//! Work: how it is claimed, awaited and ended.
//!
//! This room imports `db`, `telemetry` and `session`, but not `session::session`.

pub(crate) mod batch;
pub(crate) mod claim;
pub(crate) mod claim_one;
pub(crate) mod end;
pub(crate) mod end_batcher;
pub(crate) mod inner;
pub(crate) mod pending_claim;
pub(crate) mod poller;
pub(crate) mod queue_cursor;
pub(crate) mod rate_limiter;
mod replan_on_claim;
#[allow(clippy::module_inception, reason = "the file is named after its type")]
mod work;

pub use work::Work;
