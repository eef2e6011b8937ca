//! Connections, their transactions' options, and the database's clock.

/// The connection that every function of this crate takes.
pub use diesel_async::AsyncPgConnection;

use crate::Error;
use crate::statement::statement;
use crate::time::Timestamptz;
use chrono::{DateTime, Utc};
use diesel_async::RunQueryDsl;

/// How strictly a transaction is isolated from concurrent ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// As if transactions ran one after the other; some have to be retried for that.
    #[default]
    Serializable,
    /// All statements see what was committed before the first of them. For several reads that must
    /// agree: unlike SERIALIZABLE ones they never block or abort another transaction.
    RepeatableRead,
    /// Each statement sees what was committed before it began.
    ReadCommitted,
}

/// Whether a transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "variants without a comment explain themselves")]
pub enum Access {
    #[default]
    ReadWrite,
    ReadOnly,
}

statement! {
    Now = "SELECT pg_catalog.now()";
    () -> Timestamptz
}

/// Returns the database's time: within a transaction, the time at which it began.
///
/// # Errors
/// [`Error::Database`].
pub async fn now(conn: &mut AsyncPgConnection) -> Result<DateTime<Utc>, Error> {
    Ok(Now {}.get_result(conn).await?)
}

statement! {
    Clock = "SELECT clock_timestamp()";
    () -> Timestamptz
}

/// Returns the current time of the database's clock, from which all stored times are taken.
///
/// # Errors
/// [`Error::Database`].
pub async fn clock(conn: &mut AsyncPgConnection) -> Result<DateTime<Utc>, Error> {
    Ok(Clock {}.get_result(conn).await?)
}
