//! What the command line promises, shown by running the program; one database per test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod bmdb;
mod exit_codes;
mod migrate;
mod output;
mod run;
mod stats;
