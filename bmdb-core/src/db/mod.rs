//! Connections to the database: where, how encrypted, how long to wait, and what is tried again.

pub(crate) mod config;
pub(crate) mod connect;
pub(crate) mod deadline;
pub(crate) mod migrate;
mod passfile;
pub(crate) mod pool;
pub(crate) mod retry;
mod tls;
pub(crate) mod transaction;
pub(crate) mod url;
