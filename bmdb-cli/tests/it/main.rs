//! What the command line promises, shown by running the program; one database per test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod bmdb;
mod docs;
mod exit_codes;
mod fleet;
mod janitor;
mod json;
mod machine;
mod manual;
mod migrate;
mod operate;
mod output;
mod reference;
mod run;
mod schemas;
mod serve;
mod stats;
mod validate;
