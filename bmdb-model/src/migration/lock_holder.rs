//! A connection that blocks another one.

use diesel::prelude::*;
use std::fmt;

/// A connection that has a lock for which another one waits.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LockHolder {
    /// Its server process, which `pg_terminate_backend` ends; 0 is a prepared transaction.
    pub pid: i32,
    /// The application name of its program.
    pub application: String,
    /// The address of its program, unless that runs on the server's host.
    pub address: Option<String>,
    /// For how many seconds it has been in its transaction. For connections of other users, only
    /// members of `pg_read_all_stats` see this.
    pub transaction_seconds: Option<i64>,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} ({:?}", self.pid, self.application)?;
        if let Some(address) = &self.address {
            write!(f, " at {address}")?;
        }
        if let Some(seconds) = self.transaction_seconds {
            write!(f, ", in a transaction for {seconds} s")?;
        }
        f.write_str(")")
    }
}
