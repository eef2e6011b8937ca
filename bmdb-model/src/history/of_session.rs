//! What a session did, as far as that can be found: history is kept by machine.

use super::PastAttempt;
use crate::statement::statement;
use crate::{Error, SessionId};
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    OfSession = include_str!("../sql/session_past.sql");
    (session: SessionId => SqlUuid, limit: i64 => BigInt)
    -> (SqlUuid, Text, SqlUuid, BigInt, BigInt, Timestamptz, Timestamptz, Text, Nullable<Text>, BigInt, Nullable<BigInt>)
}

/// Up to `limit` attempts of a session on machines that it holds now, the last first: among the last 20
/// attempts of each of `limit` machines.
///
/// # Errors
/// [`Error::Database`].
pub async fn of_session_on_held(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    limit: i64,
) -> Result<Vec<PastAttempt>, Error> {
    Ok(OfSession { session, limit }.load(conn).await?)
}
