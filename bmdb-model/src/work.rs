//! Work now: what is claimed, what fails and why, and what fails or expires repeatedly.

mod claimed;
mod failing;
mod poisoned;
mod rest_cause;

pub use claimed::{
    ClaimedFilter, ClaimedKey, ClaimedWork, LongestClaimed, LongestClaimedKey, STUCK_AFTER,
    claimed, claimed_on, longest_claimed,
};
pub use failing::{Causes, FailureCause, RestingWork, causes, resting};
pub(crate) use failing::{FAILING, RESTING};
pub use poisoned::{PoisonedKey, PoisonedWork, poisoned};
pub use rest_cause::RestCause;
