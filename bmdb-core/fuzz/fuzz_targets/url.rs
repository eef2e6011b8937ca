//! Any text is a database URL that is shown as it is read, or an error.
//!
//! Run with `cargo +nightly fuzz run url` in `bmdb-core`.

#![no_main]

#[path = "../checks/url.rs"]
mod url;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| url::check(text));
