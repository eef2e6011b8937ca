//! What sessions and work promise, checked against a real server; one database per test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod agents;
mod api;
mod backoff;
mod batch;
mod claim;
mod connect;
mod control_loop;
mod drain;
mod ends;
mod environment;
mod exclusion;
mod failover;
mod fake_provider;
mod fault;
#[cfg(feature = "fleet")]
mod fleet;
mod fuzzed;
mod janitor;
mod lookalikes;
mod migrate;
mod operate;
mod others;
mod own;
mod poller;
mod race;
mod reader;
mod rearm;
mod regressions;
mod round_trips;
mod scenario;
mod secrets;
mod servers;
mod session;
mod shutdown;
mod stress;
mod tally;
mod telemetry;
mod timeouts;
mod tls;
mod transactions;
mod upkeep;
mod wait;
mod work;
