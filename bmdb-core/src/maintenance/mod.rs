//! Maintenance: reclaiming, replanning and trimming in the background.
//!
//! This room imports `db`, `telemetry` and `session`.

pub(crate) mod batch;
pub(crate) mod define;
pub(crate) mod dry_run;
pub(crate) mod janitor;
pub(crate) mod overlong;
pub(crate) mod reclaim;
pub(crate) mod replan;
pub(crate) mod set_back;
pub(crate) mod trim;
