//! What a connection is, and what time it is in the database.

/// What every function of this crate runs on, for those who do not depend on `diesel-async`.
pub use diesel_async::AsyncPgConnection;

use crate::Error;
use crate::statement::statement;
use chrono::{DateTime, Utc};
use diesel::sql_types::Timestamptz;
use diesel_async::RunQueryDsl;

/// How strictly a transaction is kept apart from concurrent ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// As if transactions ran one after the other; some are retried for that.
    #[default]
    Serializable,
    /// All statements see what was committed before the first of them. For reads that belong together:
    /// unlike SERIALIZABLE ones they stand in nobody's way.
    RepeatableRead,
    /// Each statement sees what was committed before it began.
    ReadCommitted,
}

/// Whether a transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// It may.
    #[default]
    ReadWrite,
    /// It may not.
    ReadOnly,
}

statement! {
    Now = "SELECT pg_catalog.now()";
    () -> Timestamptz
}

/// The database's time: within a transaction that of its beginning.
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

/// What time it is, by the database's clock, which all stored times are from.
///
/// # Errors
/// [`Error::Database`].
pub async fn clock(conn: &mut AsyncPgConnection) -> Result<DateTime<Utc>, Error> {
    Ok(Clock {}.get_result(conn).await?)
}
