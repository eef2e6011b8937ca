//! Tests of the command line, which run the program. Each test has a database of its own.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot continue should panic"
)]

mod agent;
mod bmdb;
mod causes;
mod docs;
mod exit_codes;
mod fleet;
mod janitor;
mod json;
mod machine;
mod manual;
mod migrate;
mod odd_rows;
mod operate;
mod output;
mod process;
mod process_1;
mod reference;
mod run;
mod schemas;
mod serve;
mod signals;
mod stats;
mod terminal;
mod text;
mod validate;
