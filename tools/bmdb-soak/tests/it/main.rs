//! The presets from the outside: the program is run as a person runs it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod stress;
