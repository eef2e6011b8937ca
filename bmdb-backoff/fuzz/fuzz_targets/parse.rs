//! Any text is a policy that survives being written and read again, or an error within the text.
//!
//! Run with `cargo +nightly fuzz run parse` in `bmdb-backoff`.

#![no_main]

use bmdb_backoff::{Backoff, ParseError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match text.parse::<Backoff>() {
        Ok(policy) => assert_eq!(policy.to_string().parse(), Ok::<_, ParseError>(policy)),
        Err(error) => assert!(text.is_char_boundary(error.offset()), "{error}"),
    }
});
