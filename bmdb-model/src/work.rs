//! Work now: what is claimed, what fails or expires repeatedly, and what finishes without effect.

mod claimed;
mod poisoned;
mod resting;

pub use claimed::{
    ClaimedFilter, ClaimedKey, ClaimedWork, LongestClaimed, LongestClaimedKey, STUCK_AFTER,
    claimed, claimed_on, longest_claimed,
};
pub use poisoned::{PoisonedKey, PoisonedWork, poisoned};
pub use resting::{RestCause, RestingKey, RestingWork, resting};
