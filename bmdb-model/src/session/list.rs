//! Lists of sessions, with the number of items that they have claimed.

use super::SessionRow;
use crate::page::{Page, key};
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A session of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct ListedSession {
    pub row: SessionRow,
    /// Whether its deadline is ahead, by the database's clock. The janitor removes other sessions.
    pub is_live: bool,
    /// Whether its deadline is farther away than its interval, because the database's clock was set back. The
    /// janitor ends its lease after the interval, unless a heartbeat arrives.
    pub is_overlong: bool,
    /// How many work items it has claimed.
    pub claimed: ClaimedCount,
}

/// How many work items a session has claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[allow(missing_docs, reason = "variants without a comment explain themselves")]
pub enum ClaimedCount {
    Exactly(i64),
    /// A lower bound: the database has more than 10,000 claimed items, and not all were counted.
    AtLeast(i64),
}

key! {
    /// Where a page of [`page`] begins.
    SessionKey { created_at: time, id: part(SessionId) }
}

type Columns = (
    (SqlUuid, Text, Text, Timestamptz, BigInt, Timestamptz),
    Bool,
    Bool,
    BigInt,
    Bool,
);

type Row = (SessionRow, bool, bool, i64, bool);

fn listed((row, is_live, is_overlong, count, all_counted): Row) -> ListedSession {
    let claimed = if all_counted {
        ClaimedCount::Exactly(count)
    } else {
        ClaimedCount::AtLeast(count)
    };
    ListedSession {
        row,
        is_live,
        is_overlong,
        claimed,
    }
}

statement! {
    PageOf = concat!(include_str!("../sql/sessions_page.sql"), include_str!("../sql/sessions_claimed.sql"));
    (
        created_at: Option<DateTime<Utc>> => Nullable<Timestamptz>, id: Option<SessionId> => Nullable<SqlUuid>,
        limit: i64 => BigInt
    ) -> Columns
}

/// Lists up to `limit` sessions, the newest first.
///
/// Reads the rows of the page, and up to 10,000 claimed items.
///
/// # Errors
/// [`Error::Database`].
pub async fn page(
    conn: &mut AsyncPgConnection,
    after: Option<&SessionKey>,
    limit: i64,
) -> Result<Page<ListedSession, SessionKey>, Error> {
    let page = PageOf {
        created_at: after.map(|key| key.created_at),
        id: after.map(|key| key.id),
        limit: limit + 1,
    };
    let rows: Vec<Row> = page.load(conn).await?;
    let rows = rows.into_iter().map(listed).collect();
    Ok(Page::of(rows, limit, |last: &ListedSession| SessionKey {
        created_at: last.row.created_at,
        id: last.row.id,
    }))
}

statement! {
    Find = concat!(
        "WITH page AS MATERIALIZED (SELECT * FROM sessions WHERE session_id = $1)",
        include_str!("../sql/sessions_claimed.sql")
    );
    (id: SessionId => SqlUuid) -> Columns
}

/// Returns the session, if it still exists: expired and closed sessions are removed.
///
/// # Errors
/// [`Error::Database`].
pub async fn find(
    conn: &mut AsyncPgConnection,
    id: SessionId,
) -> Result<Option<ListedSession>, Error> {
    let row: Option<Row> = Find { id }.get_result(conn).await.optional()?;
    Ok(row.map(listed))
}
