//! Claimed work: which session works on which machine, and since when.
//!
//! The list has two orders. [`claimed`] goes through all of it in the order of its machines;
//! [`longest_claimed`] shows what has been claimed for longest.

use crate::error::optional_storable;
use crate::page::{Page, key};
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, Fence, Lane, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::time::Duration;

/// Work that has been claimed for longer than this counts as stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(3600);

/// A claimed work item, and the session that claimed it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[allow(
    missing_docs,
    reason = "the fields without a comment explain themselves"
)]
#[non_exhaustive]
pub struct ClaimedWork {
    pub machine: MachineId,
    pub process: Process,
    pub lane: Lane,
    pub session: SessionId,
    pub component: String,
    /// Whether the session's deadline is ahead. The janitor reclaims the work of other sessions.
    pub is_live: bool,
    pub fence: Fence,
    /// When it was claimed, by the database's clock.
    pub started_at: DateTime<Utc>,
    /// For how many seconds it has been claimed.
    pub claimed_seconds: i64,
    /// Since when it was due when it was claimed: the time from then to `started_at` is the claim's
    /// latency. `None` where that is unknown, as for a claim by an explicit retrieval.
    pub due_since: Option<DateTime<Utc>>,
    /// How many times in a row the process has failed on the machine before.
    pub failures: i64,
    /// How many times in a row the work has expired before.
    pub losses: i64,
}

/// Which claimed work is listed. Default: all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimedFilter {
    /// Only work of this process.
    pub process: Option<Process>,
    /// Only work of this component's sessions.
    pub component: Option<String>,
    /// Only this session's work.
    pub session: Option<SessionId>,
    /// Only work that has been claimed for at least this time, in whole seconds; [`STUCK_AFTER`] lists
    /// stuck work.
    pub claimed_for: Option<Duration>,
}

impl ClaimedFilter {
    fn component(&self) -> Result<Option<&str>, Error> {
        let component = self.component.as_deref();
        optional_storable("component", component)?;
        Ok(component)
    }

    fn seconds(&self) -> i64 {
        let seconds = self.claimed_for.map_or(0, |time| time.as_secs());
        i64::try_from(seconds).unwrap_or(i64::MAX)
    }
}

key! {
    /// Where a page of [`claimed`] begins.
    ClaimedKey { machine: part(MachineId), lane: part(Lane) }
}

key! {
    /// Where a page of [`longest_claimed`] begins.
    LongestClaimedKey { started_at: time, fence: part(i64) }
}

type Columns = (
    SqlUuid,
    Text,
    Text,
    SqlUuid,
    Text,
    Bool,
    BigInt,
    Timestamptz,
    BigInt,
    Nullable<Timestamptz>,
    BigInt,
    BigInt,
);

statement! {
    ClaimedPage<'a> = include_str!("../sql/claimed_page.sql");
    (
        machine: Option<MachineId> => Nullable<SqlUuid>, lane: &'a str => Text,
        process: Option<&'a Process> => Nullable<Text>, component: Option<&'a str> => Nullable<Text>,
        session: Option<SessionId> => Nullable<SqlUuid>, claimed_for: i64 => BigInt, limit: i64 => BigInt
    ) -> (Nullable<SqlUuid>, Nullable<Text>, Nullable<Columns>)
}

/// Lists up to `limit` claimed items in the order of their machines.
///
/// One call reads at most 10,000 claimed items, which is more than most fleets have. Where there are
/// more, a filtered page may be short or empty, and its `next` says where to continue.
///
/// # Errors
/// [`Error::NulByte`] for the component, [`Error::Database`].
pub async fn claimed(
    conn: &mut AsyncPgConnection,
    filter: &ClaimedFilter,
    after: Option<&ClaimedKey>,
    limit: i64,
) -> Result<Page<ClaimedWork, ClaimedKey>, Error> {
    let page = ClaimedPage {
        machine: after.map(|key| key.machine),
        lane: after.map_or("", |key| key.lane.as_str()),
        process: filter.process.as_ref(),
        component: filter.component()?,
        session: filter.session,
        claimed_for: filter.seconds(),
        limit: limit + 1,
    };
    let found: Vec<(Option<MachineId>, Option<Lane>, Option<ClaimedWork>)> =
        page.load(conn).await?;
    // Each row repeats the last item that was read; a page without rows has one row that says only that.
    let last_read = found.as_slice().first().and_then(|(machine, lane, _)| {
        Some(ClaimedKey {
            machine: (*machine)?,
            lane: lane.clone()?,
        })
    });
    let rows = found.into_iter().filter_map(|(.., row)| row).collect();
    let mut page = Page::of(rows, limit, |last: &ClaimedWork| ClaimedKey {
        machine: last.machine,
        lane: last.lane.clone(),
    });
    page.next = page.next.or(last_read);
    Ok(page)
}

statement! {
    LongestPage<'a> = include_str!("../sql/longest_claimed.sql");
    (
        process: Option<&'a Process> => Nullable<Text>, component: Option<&'a str> => Nullable<Text>,
        session: Option<SessionId> => Nullable<SqlUuid>, claimed_for: i64 => BigInt,
        started_at: Option<DateTime<Utc>> => Nullable<Timestamptz>, fence: i64 => BigInt, limit: i64 => BigInt
    ) -> (Bool, Nullable<Columns>)
}

/// A page of [`longest_claimed`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LongestClaimed {
    /// The rows, and where the next page begins.
    pub page: Page<ClaimedWork, LongestClaimedKey>,
    /// Whether all claimed items were read. Only 10,000 are; the list lacks the others.
    pub is_all: bool,
}

/// Lists up to `limit` claimed items, the longest claimed first. Reads at most 10,000 claimed items.
///
/// # Errors
/// [`Error::NulByte`] for the component, [`Error::Database`].
pub async fn longest_claimed(
    conn: &mut AsyncPgConnection,
    filter: &ClaimedFilter,
    after: Option<&LongestClaimedKey>,
    limit: i64,
) -> Result<LongestClaimed, Error> {
    let page = LongestPage {
        process: filter.process.as_ref(),
        component: filter.component()?,
        session: filter.session,
        claimed_for: filter.seconds(),
        started_at: after.map(|key| key.started_at),
        fence: after.map_or(0, |key| key.fence),
        limit: limit + 1,
    };
    let found: Vec<(bool, Option<ClaimedWork>)> = page.load(conn).await?;
    let is_all = found.iter().all(|(is_all, _)| *is_all);
    let rows = found.into_iter().filter_map(|(_, row)| row).collect();
    let page = Page::of(rows, limit, |last: &ClaimedWork| LongestClaimedKey {
        started_at: last.started_at,
        fence: last.fence.get(),
    });
    Ok(LongestClaimed { page, is_all })
}

statement! {
    ClaimedOn = include_str!("../sql/claimed_on.sql");
    (machine: MachineId => SqlUuid) -> Columns
}

/// Lists the claimed work of a machine, the latest claim first: at most one item for each lane.
///
/// # Errors
/// [`Error::Database`].
pub async fn claimed_on(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
) -> Result<Vec<ClaimedWork>, Error> {
    Ok(ClaimedOn { machine }.load(conn).await?)
}
