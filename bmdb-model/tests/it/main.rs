//! What the schema and the statements promise, checked against a real server; one database per test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod compatibility;
mod constraints;
mod eligibility;
mod migrations;
mod older_writers;
mod planning;
mod scenario;
mod schema;
mod workflows;
