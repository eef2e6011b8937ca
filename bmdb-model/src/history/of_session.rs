//! The attempts of a session.

use super::page::{PastAttempt, PastColumns};
use crate::page::{Page, key};
use crate::statement::statement;
use crate::{Error, SessionId};
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

key! {
    /// Where a page of [`of_session`] begins.
    SessionPastKey { fence: part(i64) }
}

statement! {
    OfSession = include_str!("../sql/session_past.sql");
    (session: SessionId => SqlUuid, below: i64 => BigInt, limit: i64 => BigInt)
    -> PastColumns
}

/// Lists up to `limit` ended attempts of a session, the latest claim first. Works for removed sessions
/// too, for as long as history is kept.
///
/// A streak of failures belongs to the session that failed last, and is ordered by the claim of its
/// first failure.
///
/// # Errors
/// [`Error::Database`].
pub async fn of_session(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    after: Option<&SessionPastKey>,
    limit: i64,
) -> Result<Page<PastAttempt, SessionPastKey>, Error> {
    let attempts = OfSession {
        session,
        below: after.map_or(i64::MAX, |key| key.fence),
        limit: limit + 1,
    };
    let rows: Vec<PastAttempt> = attempts.load(conn).await?;
    Ok(Page::of(rows, limit, |last| SessionPastKey {
        fence: last.fence.get(),
    }))
}
