//! What the schema and the statements promise, checked against a real server; one database per test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod bad_input;
mod compatibility;
mod constraints;
mod counts;
mod deletion;
mod eligibility;
mod migrations;
mod older_writers;
mod planning;
mod provided;
mod recovery;
mod retrieval;
mod scenario;
mod schema;
mod tags;
mod workflows;
