//! Whether a plan is stale: what an item says, beside what the workflow's view says.

use super::gate::{View, When};
use super::view::Said;
use crate::Provider;
use chrono::{DateTime, Utc};

/// What an item says, for comparing it with what the view says.
pub(super) struct Planned<'a> {
    pub(super) is_eligible: bool,
    pub(super) planned: Option<When>,
    pub(super) provider: Option<&'a Provider>,
    pub(super) replan_on_claim: bool,
    pub(super) moves_lane: bool,
}

impl Planned<'_> {
    /// Whether planning the machine now would change the item.
    pub(super) fn differs_from(&self, said: &Said, on_hold: bool, now: DateTime<Utc>) -> bool {
        let listed = match said.view {
            View::Unusable(_) => return false,
            View::Lists(when) => Some(when),
            View::None | View::DoesNotList => None,
        };
        if self.is_eligible != (listed.is_some() && !on_hold) || self.moves_lane {
            return true;
        }
        let (Some(listed), Some(planned)) = (listed, self.planned) else {
            return false;
        };
        if said.provider.is_some() && said.provider.as_ref() != self.provider {
            return true;
        }
        match (listed, planned) {
            // Ready at once keeps an item's place in the queue.
            (When::Now, planned) => !planned.has_come(now),
            // Heartbeats move the deadline and are not planned: too early is as it should be.
            (When::At(listed), When::At(planned)) if self.replan_on_claim => planned > listed,
            (listed, planned) => listed != planned,
        }
    }
}
