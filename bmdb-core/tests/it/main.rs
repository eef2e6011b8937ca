//! What sessions and work promise, checked against a real server; one database per test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod agents;
mod api;
mod backoff;
mod batch;
mod claim;
mod connect;
mod ends;
mod exclusion;
mod fault;
#[cfg(feature = "fleet")]
mod fleet;
mod migrate;
mod others;
mod poller;
mod race;
mod rearm;
mod regressions;
mod round_trips;
mod scenario;
mod session;
mod shutdown;
mod stress;
mod transactions;
mod upkeep;
mod wait;
mod work;
