//! Work now: what is claimed, and what fails or is lost again and again.

mod held;
mod longest;
mod poisoned;

pub use held::{HeldFilter, HeldKey, HeldWork, STUCK_AFTER, held, held_on};
pub use longest::{LongHeld, Longest, LongestFilter, LongestKey, longest_held};
pub use poisoned::{PoisonedKey, PoisonedWork, poisoned};
