//! What the crate promises, checked from outside.

mod conversions;
mod jitter;
mod policies;
mod properties;
mod sequences;
#[cfg(feature = "serde")]
mod serde;
mod strategies;
mod text;
mod totals;
mod vectors;
