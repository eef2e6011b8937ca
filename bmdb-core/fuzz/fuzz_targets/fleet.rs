//! Any text is a fleet, or an error at a place within it.
//!
//! Run with `cargo +nightly fuzz run fleet` in `bmdb-core`.

#![no_main]

#[path = "../checks/fleet.rs"]
mod fleet;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| fleet::check(text));
