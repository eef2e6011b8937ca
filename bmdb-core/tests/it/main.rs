//! Tests of sessions and work against a real server, with a database for each test.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod agents;
mod api;
mod attempt_counts;
mod backoff;
mod batch;
mod broken_views;
mod claim;
mod closures;
mod connect;
mod control_loop;
mod dedicated_server;
mod define;
mod drain;
mod ends;
mod environment;
mod errors;
mod exclusion;
mod failover;
mod fake_provider;
mod fault;
#[cfg(feature = "fleet")]
mod fleet;
mod foreign;
mod fuzzed;
mod holds;
mod janitor;
#[cfg(feature = "fleet")]
mod kills;
mod language;
mod listening;
mod maintenance;
mod migrate;
mod operator;
mod parity;
mod poller;
mod protocol;
mod race;
mod reader;
mod regressions;
mod replan_on_claim;
mod rest;
mod round_trips;
mod runtimes;
mod scenario;
mod secrets;
mod servers;
mod session;
mod shutdown;
#[cfg(feature = "fleet")]
mod silence;
mod similar_names;
#[cfg(unix)]
mod stopped;
mod tag_statements;
mod tags;
mod telemetry;
mod timeouts;
mod tls;
mod transactions;
mod values;
mod wait;
mod work;
