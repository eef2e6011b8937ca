//! What the schema and the statements promise, checked against a real server; one database per test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod bad_input;
mod beside;
mod claims;
mod company;
mod compatibility;
mod constraints;
mod cost;
mod counts;
mod deletion;
mod eligibility;
mod ends;
mod fleet;
mod frozen;
mod further;
mod fuzzed;
mod gates;
mod head;
mod history;
mod hostile_names;
mod interrupted;
mod list;
mod lists;
mod loss;
mod migrations;
mod notify;
mod older_writers;
mod operator;
mod planning;
mod plans;
mod prepared;
mod provided;
mod rearm;
mod recovery;
mod reflect;
mod retrieval;
mod roles;
mod scenario;
mod schema;
mod snapshots;
mod statements;
mod tags;
mod tally;
mod upkeep;
mod workflows;
