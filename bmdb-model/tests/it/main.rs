//! What the schema and the statements guarantee, checked against a real server; one database per test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod attempt_counts;
mod bad_input;
mod breakers;
mod claims;
mod compatibility;
mod concurrent;
mod constraints;
mod cost;
mod counts;
mod custom_tags;
mod deletion;
mod eligibility;
mod ends;
mod external_migrations;
mod fleet;
mod fuzzed;
mod gates;
mod head;
mod history;
mod hostile_names;
mod interrupted;
mod limits;
mod limits_cost;
mod limits_raced;
mod list;
mod listening;
mod lists;
mod maintenance;
mod migrations;
mod notify;
mod older_writers;
mod operator;
mod overview;
mod pauses;
mod pipelined;
mod planning;
mod plans;
mod prepared;
mod process_control;
mod provided;
mod reclaim;
mod recovery;
mod replan_on_claim;
mod retrieval;
mod roles;
mod scenario;
mod schema;
mod schema_snapshots;
#[cfg(feature = "serde")]
mod serde;
mod snapshots;
mod statements;
mod tags;
mod workflows;
