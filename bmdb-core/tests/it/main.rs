//! What sessions and work promise, checked against a real server; one database per test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod backoff;
mod race;
mod scenario;
mod wait;
