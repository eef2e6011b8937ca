//! Takeover: whether the machine of the killed worker was claimed by another.

use super::snapshot::SlowMachine;

/// What was seen while the workers ran.
pub(super) struct Takeover {
    /// Whether everything that can be done was done in time.
    pub(super) complete: bool,
    /// The machine whose worker was killed.
    pub(super) killed: Option<SlowMachine>,
    pub(super) taken_over: bool,
}
