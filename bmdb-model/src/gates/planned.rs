//! Whether a plan is stale: compares an item with the workflow's view.

use super::gate::{View, When};
use super::view::Said;
use crate::Provider;
use chrono::{DateTime, Utc};

/// What an item says, for comparison with the view.
pub(super) struct Planned<'a> {
    pub(super) is_eligible: bool,
    pub(super) planned: Option<When>,
    pub(super) provider: Option<&'a Provider>,
    pub(super) replan_on_claim: bool,
    pub(super) moves_lane: bool,
}

impl Planned<'_> {
    /// Whether replanning the machine now would change the item.
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
            // A machine that is ready at once keeps its place in the queue.
            (When::Now, planned) => !planned.has_come(now),
            // Heartbeats move the deadline and are not planned, so an item that is too early is
            // correct.
            (When::At(listed), When::At(planned)) if self.replan_on_claim => planned > listed,
            (listed, planned) => listed != planned,
        }
    }
}
