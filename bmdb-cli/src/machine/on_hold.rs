//! The hold on a machine, as answers show it.

use crate::output::Time;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct OnHold {
    pub(super) reason: String,
    pub(super) since: Time,
}

impl From<bmdb_model::hold::Hold> for OnHold {
    fn from(hold: bmdb_model::hold::Hold) -> Self {
        Self {
            reason: hold.reason,
            since: Time(hold.since),
        }
    }
}
