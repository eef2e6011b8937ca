//! Work now: what is claimed, and what fails or expires repeatedly.

mod claimed;
mod poisoned;
mod rest_cause;

pub use claimed::{
    ClaimedFilter, ClaimedKey, ClaimedWork, LongestClaimed, LongestClaimedKey, STUCK_AFTER,
    claimed, claimed_on, longest_claimed,
};
pub use poisoned::{PoisonedKey, PoisonedWork, poisoned};
pub use rest_cause::RestCause;
