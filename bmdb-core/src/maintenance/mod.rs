//! What runs in the background: reclaiming, replanning, trimming.

pub(crate) mod batch;
pub(crate) mod dry_run;
pub(crate) mod janitor;
pub(crate) mod reclaim;
pub(crate) mod replan;
