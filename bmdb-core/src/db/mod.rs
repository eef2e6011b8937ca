//! Connections to the database: address, encryption, timeouts, and retries.
//!
//! The lowest room: it imports `error`, `fleet` and `lock` and no other room.

pub(crate) mod config;
pub(crate) mod connect;
pub(crate) mod database;
pub(crate) mod deadline;
pub(crate) mod home_runtime;
pub(crate) mod in_flight;
pub(crate) mod items_lock;
pub(crate) mod lease_clock;
pub(crate) mod listener;
pub(crate) mod migrate;
mod passfile;
pub(crate) mod pool;
pub(crate) mod retry;
pub(crate) mod statement_watch;
mod tls;
pub(crate) mod transaction;
pub(crate) mod tx;
pub(crate) mod tx_fn;
mod tx_holds;
pub(crate) mod tx_tags;
pub(crate) mod url;
