//! Work now, the longest held first: what a person looks at, a page at a time.

use crate::error::optional_storable;
use crate::page::{InvalidKey, Page, Parts, join};
use crate::statement::statement;
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::fmt;
use std::str::FromStr;

/// A work item that is held, and its holder.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct LongHeld {
    /// The machine.
    pub machine: MachineId,
    /// The process.
    pub process: Process,
    /// The session that holds it.
    pub session: SessionId,
    /// Which program that is.
    pub component: String,
    /// Whether the session's deadline is still ahead; what others hold the janitor frees.
    pub is_live: bool,
    /// The claim's fence.
    pub fence: Fence,
    /// When it was claimed, by the database's clock.
    pub started_at: DateTime<Utc>,
    /// Since when it was due when it was claimed; `None` where nothing said so, as for a claim by an
    /// explicit retrieval.
    pub due_since: Option<DateTime<Utc>>,
    /// How many times in a row the process has failed on the machine before.
    pub failures: i64,
    /// How many times in a row the work was lost before.
    pub losses: i64,
}

/// Which held work is listed; nothing named is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LongestFilter {
    /// Only of this process.
    pub process: Option<Process>,
    /// Only by sessions of this component.
    pub component: Option<String>,
    /// Only by this session.
    pub session: Option<SessionId>,
}

/// Where a page of [`longest_held`] begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongestKey {
    started_at: DateTime<Utc>,
    fence: i64,
}

impl fmt::Display for LongestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, &[&self.started_at.timestamp_micros(), &self.fence])
    }
}

impl FromStr for LongestKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let mut parts = Parts::of(text);
        let (started_at, fence) = (parts.time()?, parts.parse()?);
        parts.end()?;
        Ok(Self { started_at, fence })
    }
}

type Columns = (
    SqlUuid,
    Text,
    SqlUuid,
    Text,
    Bool,
    BigInt,
    Timestamptz,
    Nullable<Timestamptz>,
    BigInt,
    BigInt,
);

statement! {
    LongestHeld<'a> = include_str!("../sql/longest_held.sql");
    (
        process: Option<&'a Process> => Nullable<Text>, component: Option<&'a str> => Nullable<Text>,
        session: Option<SessionId> => Nullable<SqlUuid>,
        started_at: Option<DateTime<Utc>> => Nullable<Timestamptz>, fence: i64 => BigInt, limit: i64 => BigInt
    ) -> (Bool, Nullable<Columns>)
}

/// A page of what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Longest {
    /// The page.
    pub page: Page<LongHeld, LongestKey>,
    /// Whether all that is held was looked at: where it is more than 10,000 items, the rest is not.
    pub is_all: bool,
}

/// Up to `limit` held items, the one that has been held for longest first.
///
/// Looks at no more than 10,000 held items, which is more than most fleets hold at a time.
///
/// # Errors
/// [`Error::Database`]; [`Error::NulByte`] for the component.
pub async fn longest_held(
    conn: &mut AsyncPgConnection,
    filter: &LongestFilter,
    after: Option<&LongestKey>,
    limit: i64,
) -> Result<Longest, Error> {
    optional_storable("component", filter.component.as_deref())?;
    let longest = LongestHeld {
        process: filter.process.as_ref(),
        component: filter.component.as_deref(),
        session: filter.session,
        started_at: after.map(|key| key.started_at),
        fence: after.map_or(0, |key| key.fence),
        limit: limit + 1,
    };
    let found: Vec<(bool, Option<LongHeld>)> = longest.load(conn).await?;
    let is_all = found.iter().all(|(is_all, _)| *is_all);
    let rows = found.into_iter().filter_map(|(_, row)| row).collect();
    let page = Page::of(rows, limit, |last: &LongHeld| LongestKey {
        started_at: last.started_at,
        fence: last.fence.get(),
    });
    Ok(Longest { page, is_all })
}
