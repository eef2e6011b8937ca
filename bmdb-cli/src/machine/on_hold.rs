//! The hold on a machine, as answers show it.

use crate::output::{Time, answer};

answer! {
    pub(super) struct OnHold from hold: bmdb_model::hold::Hold {
        pub(super) reason: String = hold.reason,
        pub(super) since: Time = Time(hold.since),
    }
}
