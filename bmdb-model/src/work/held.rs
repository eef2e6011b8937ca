//! Work now: what is held, by whom, and since when.

use crate::page::{Page, machine_and_name};
use crate::statement::statement;
use crate::{Error, Fence, Lane, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::time::Duration;

/// How long work is held before it is called stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(3600);

/// A work item that is held, and its holder.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct HeldWork {
    /// The machine.
    pub machine: MachineId,
    /// The process.
    pub process: Process,
    /// Its lane on the machine.
    pub lane: Lane,
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
    /// For how long it has been held by now, in seconds.
    pub held_seconds: i64,
    /// Since when it was due when it was claimed: from then to `started_at` is the claim's latency. `None`
    /// where nothing said so, as for a claim by an explicit retrieval.
    pub due_since: Option<DateTime<Utc>>,
    /// How many times in a row the process has failed on the machine before.
    pub failures: i64,
    /// How many times in a row the work was lost before.
    pub losses: i64,
}

machine_and_name! {
    /// Where a page of [`held`] begins.
    HeldKey, lane: Lane
}

/// Which held work is listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldFilter {
    /// Only of this process.
    pub process: Option<Process>,
    /// Only by this session.
    pub session: Option<SessionId>,
    /// Only what has been held for at least as long, to the second; [`STUCK_AFTER`] for what is stuck.
    pub held_for: Option<Duration>,
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
    HeldPage<'a> = include_str!("../sql/held_page.sql");
    (
        machine: Option<MachineId> => Nullable<SqlUuid>, lane: &'a str => Text,
        process: Option<&'a Process> => Nullable<Text>, session: Option<SessionId> => Nullable<SqlUuid>,
        held_for: i64 => BigInt, limit: i64 => BigInt
    ) -> (Nullable<SqlUuid>, Nullable<Text>, Nullable<Columns>)
}

/// Up to `limit` held items in the order of their machines.
///
/// One call looks at no more than 10,000 held items, which is more than most fleets hold at a time. Where
/// there are more, a page that is filtered may be short, or empty, and its `next` says where to go on.
///
/// # Errors
/// [`Error::Database`].
pub async fn held(
    conn: &mut AsyncPgConnection,
    filter: &HeldFilter,
    after: Option<&HeldKey>,
    limit: i64,
) -> Result<Page<HeldWork, HeldKey>, Error> {
    let page = HeldPage {
        machine: after.map(|key| key.machine),
        lane: after.map_or("", |key| key.lane.as_str()),
        process: filter.process.as_ref(),
        session: filter.session,
        held_for: filter
            .held_for
            .map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX)),
        limit: limit + 1,
    };
    let found: Vec<(Option<MachineId>, Option<Lane>, Option<HeldWork>)> = page.load(conn).await?;
    // Each row repeats how far was looked, and a page without rows has one that says only that.
    let looked = found.as_slice().first().and_then(|(machine, lane, _)| {
        Some(HeldKey {
            machine: (*machine)?,
            lane: lane.clone()?,
        })
    });
    let rows = found.into_iter().filter_map(|(.., row)| row).collect();
    let mut page = Page::of(rows, limit, |last: &HeldWork| HeldKey {
        machine: last.machine,
        lane: last.lane.clone(),
    });
    page.next = page.next.or(looked);
    Ok(page)
}

statement! {
    HeldOn = include_str!("../sql/held_on.sql");
    (machine: MachineId => SqlUuid) -> Columns
}

/// What is being done on a machine, the last begun first: at most one work for each lane.
///
/// # Errors
/// [`Error::Database`].
pub async fn held_on(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
) -> Result<Vec<HeldWork>, Error> {
    Ok(HeldOn { machine }.load(conn).await?)
}
