//! Any cause is recorded whole, or cut and marked, or refused for its first NUL byte.
//!
//! Run with `cargo +nightly fuzz run cause` in `bmdb-model`.

#![no_main]

#[path = "../checks/cause.rs"]
mod cause;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| cause::check(text));
