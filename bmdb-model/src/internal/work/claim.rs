//! Claiming work items, from the queue or one by one.

use super::claim_provided::{ProvidedColumns, ProvidedRow, reading_provided, tag};
use super::head::{QueueHead, at_the_head, at_the_head_of_any};
use crate::provided::UnreadableProvided;
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, Fence, MachineId, Process, Provided, Provider, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::sync::LazyLock;

/// A claimed work item.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Claimed {
    pub machine: MachineId,
    pub fence: Fence,
    /// When the claim was made, by the database's clock.
    pub started_at: DateTime<Utc>,
    /// How many times in a row the process has failed on the machine.
    pub failures: i64,
    /// The interval of the last backoff, in seconds.
    pub previous_interval: Option<i64>,
    /// Since when it was due. Known only for a claim from the queue of a process that does not replan
    /// on claim; `None` also if its workflow says that it has always been due.
    pub ready_at: Option<DateTime<Utc>>,
    /// The machine's tag `machine_provided`; `None` also if the claim does not read it.
    pub provided: Result<Option<Provided>, UnreadableProvided>,
}

/// What other claims return, which do not follow the queue's order alone.
pub(super) type ClaimedRow = (MachineId, Fence, DateTime<Utc>, i64, Option<i64>);

impl From<ClaimedRow> for Claimed {
    fn from((machine, fence, started_at, failures, previous_interval): ClaimedRow) -> Self {
        Self {
            machine,
            fence,
            started_at,
            failures,
            previous_interval,
            ready_at: None,
            provided: Ok(None),
        }
    }
}

/// The result of one claim from the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimBatch {
    /// The work items.
    pub claimed: Vec<Claimed>,
    /// When the last of them in the queue was ready: the queue cursor of the next claim.
    pub latest: Option<DateTime<Utc>>,
    /// What was first in the queue, from the cursor on, before the claim.
    pub head: QueueHead,
    /// Whether nothing was claimed of what is due, and limits, breakers or pauses may be the reason: claim by
    /// [`open_queues`](super::open_queues).
    pub is_controlled: bool,
}

/// Whose machines are claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Providers<'a> {
    /// Of all, in the order of one queue.
    Any,
    /// Of one.
    One(&'a Provider),
    /// Machines without a provider.
    None,
}

impl<'a> Providers<'a> {
    /// The provider, if it is one.
    #[must_use]
    pub fn one(self) -> Option<&'a Provider> {
        match self {
            Self::One(provider) => Some(provider),
            Self::Any | Self::None => None,
        }
    }
}

impl<'a> From<Option<&'a Provider>> for Providers<'a> {
    fn from(provider: Option<&'a Provider>) -> Self {
        provider.map_or(Self::Any, Self::One)
    }
}

type ClaimColumns = (
    Nullable<SqlUuid>,
    Nullable<BigInt>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<BigInt>,
    Nullable<BigInt>,
);

statement! {
    ClaimOfProvider<'a> = CLAIM;
    (process: &'a Process => Text, provider: &'a Provider => Text, cursor: Option<DateTime<Utc>> => Nullable<Timestamptz>, session: SessionId => SqlUuid, limit: i64 => BigInt)
    -> (Bool, Nullable<BigInt>, ClaimColumns, Bool)
}

statement! {
    ClaimOfNone<'a> = &CLAIM_OF_NONE;
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>, cursor: Option<DateTime<Utc>> => Nullable<Timestamptz>, session: SessionId => SqlUuid, limit: i64 => BigInt)
    -> (Bool, Nullable<BigInt>, ClaimColumns, Bool)
}

statement! {
    ClaimOfAny<'a> = &CLAIM_OF_ANY;
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>, cursor: Option<DateTime<Utc>> => Nullable<Timestamptz>, session: SessionId => SqlUuid, limit: i64 => BigInt)
    -> (Bool, Nullable<BigInt>, ClaimColumns, Bool)
}

statement! {
    ClaimReadingOfProvider<'a> = &CLAIM_READING;
    (process: &'a Process => Text, provider: &'a Provider => Text, cursor: Option<DateTime<Utc>> => Nullable<Timestamptz>, session: SessionId => SqlUuid, limit: i64 => BigInt)
    -> (Bool, Nullable<BigInt>, ClaimColumns, Bool, ProvidedColumns)
}

statement! {
    ClaimReadingOfNone<'a> = &CLAIM_READING_OF_NONE;
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>, cursor: Option<DateTime<Utc>> => Nullable<Timestamptz>, session: SessionId => SqlUuid, limit: i64 => BigInt)
    -> (Bool, Nullable<BigInt>, ClaimColumns, Bool, ProvidedColumns)
}

statement! {
    ClaimReadingOfAny<'a> = &CLAIM_READING_OF_ANY;
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>, cursor: Option<DateTime<Utc>> => Nullable<Timestamptz>, session: SessionId => SqlUuid, limit: i64 => BigInt)
    -> (Bool, Nullable<BigInt>, ClaimColumns, Bool, ProvidedColumns)
}

/// The text of a claim of one provider's machines, as [`claim_from`] prepares it, for measuring and
/// explaining it without this crate. Its parameters are the process, the provider, the queue cursor,
/// the session and the limit.
pub const CLAIM: &str = at_the_head!("../../sql/claim.sql");

/// The claim of all providers' machines.
static CLAIM_OF_ANY: LazyLock<String> = LazyLock::new(|| {
    at_the_head_of_any!("../../sql/claim.sql").replace("i.provider = $2", "$2::text IS NULL")
});

/// The claim of machines without a provider.
static CLAIM_OF_NONE: LazyLock<String> = LazyLock::new(|| {
    at_the_head!("../../sql/claim.sql")
        .replace("i.provider = $2", "$2::text IS NULL AND i.provider IS NULL")
});

/// The same claims, each with the tag `machine_provided` of what it claims.
static CLAIM_READING: LazyLock<String> = LazyLock::new(|| reading_provided(CLAIM));
static CLAIM_READING_OF_ANY: LazyLock<String> = LazyLock::new(|| reading_provided(&CLAIM_OF_ANY));
static CLAIM_READING_OF_NONE: LazyLock<String> = LazyLock::new(|| reading_provided(&CLAIM_OF_NONE));

type ClaimedColumns = (
    Option<MachineId>,
    Option<Fence>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    Option<i64>,
    Option<i64>,
);

type ClaimRow = (bool, Option<i64>, ClaimedColumns, bool);

type ReadingRow = (bool, Option<i64>, ClaimedColumns, bool, ProvidedRow);

/// Runs the form of a claim that belongs to the providers.
macro_rules! claiming {
    (
        ($one:ident, $any:ident, $none:ident),
        $conn:ident, $process:ident, $providers:ident, $cursor:ident, $session:ident, $limit:ident
    ) => {{
        macro_rules! load {
            ($statement:ident, $provider:expr) => {{
                let claim = $statement {
                    process: $process,
                    provider: $provider,
                    cursor: $cursor,
                    session: $session,
                    limit: $limit,
                };
                claim.load($conn).await?
            }};
        }
        match $providers {
            Providers::One(provider) => load!($one, provider),
            Providers::Any => load!($any, None),
            Providers::None => load!($none, None),
        }
    }};
}

/// Claims up to `limit` due items of a process for a session; `None` if the session has expired.
///
/// One statement, meant to run in its own transaction at READ COMMITTED. That level is safe here
/// because every condition of a claim is a column of the locked row, and the newest version of a locked
/// row is checked again; values from other tables would be stale.
///
/// An empty result does not prove that nothing is due: items that other transactions have locked are
/// skipped. Without a provider the whole queue of the process is sorted, so the cost grows with the
/// number of due items.
///
/// # Errors
/// [`Error::Database`]; a unique violation on `work_item_lane` ([`crate::ErrorKind::LaneTaken`]) means
/// that a concurrent claim got one of the machines first: claim again.
pub async fn claim(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: Option<&Provider>,
    session: SessionId,
    limit: i64,
) -> Result<Option<Vec<Claimed>>, Error> {
    let batch = claim_from(conn, process, provider.into(), None, session, limit).await?;
    Ok(batch.map(|batch| batch.claimed))
}

/// Like [`claim`], but skips items that were ready before the queue cursor, without reading them.
///
/// Use the cursor of the previous claim. Long-running readers keep dead rows from being vacuumed; those
/// gather at the queue's head, and every claim would step over all of them. Claim without a cursor from
/// time to time, because items also appear before it: canceled, committed late, or moved back.
///
/// # Errors
/// As [`claim`].
pub async fn claim_from(
    conn: &mut AsyncPgConnection,
    process: &Process,
    providers: Providers<'_>,
    cursor: Option<DateTime<Utc>>,
    session: SessionId,
    limit: i64,
) -> Result<Option<ClaimBatch>, Error> {
    let rows: Vec<ClaimRow> = claiming!(
        (ClaimOfProvider, ClaimOfAny, ClaimOfNone),
        conn,
        process,
        providers,
        cursor,
        session,
        limit
    );
    Ok(batch(rows.into_iter().map(|row| (row, None)).collect()))
}

/// Like [`claim_from`], and reads the tag `machine_provided` of the claimed machines in the same statement: as
/// it is once they are claimed. A tag that this release cannot read fails no other machine.
///
/// # Errors
/// As [`claim`].
pub async fn claim_reading_provided(
    conn: &mut AsyncPgConnection,
    process: &Process,
    providers: Providers<'_>,
    cursor: Option<DateTime<Utc>>,
    session: SessionId,
    limit: i64,
) -> Result<Option<ClaimBatch>, Error> {
    let rows: Vec<ReadingRow> = claiming!(
        (
            ClaimReadingOfProvider,
            ClaimReadingOfAny,
            ClaimReadingOfNone
        ),
        conn,
        process,
        providers,
        cursor,
        session,
        limit
    );
    let split = |(is_alive, due_in, claimed, is_controlled, provided): ReadingRow| {
        ((is_alive, due_in, claimed, is_controlled), Some(provided))
    };
    let mut batch = batch(rows.into_iter().map(split).collect());
    if let Some(batch) = &mut batch {
        // The statement claims in this order, and its join may mix the rows.
        batch
            .claimed
            .sort_unstable_by_key(|claimed| claimed.machine);
    }
    Ok(batch)
}

/// `None` if the session has expired.
fn batch(rows: Vec<(ClaimRow, Option<ProvidedRow>)>) -> Option<ClaimBatch> {
    let latest = rows.iter().filter_map(|(row, _)| row.2.3).max();
    let head = rows.iter().find_map(|(row, _)| row.1);
    let is_controlled = rows.iter().any(|(row, _)| row.3);
    let lives = rows.iter().any(|(row, _)| row.0);
    let claimed = |(row, provided): (ClaimRow, Option<ProvidedRow>)| {
        let (machine, fence, started_at, ready_at, failures, previous_interval) = row.2;
        Some(Claimed {
            machine: machine?,
            fence: fence?,
            started_at: started_at?,
            failures: failures?,
            previous_interval,
            ready_at,
            provided: provided.map_or(Ok(None), tag),
        })
    };
    let claimed: Vec<Claimed> = rows.into_iter().filter_map(claimed).collect();
    // Work of a session that expired during the statement is still returned: the caller must know it to
    // end it.
    let is_alive = lives || !claimed.is_empty();
    is_alive.then_some(ClaimBatch {
        claimed,
        latest,
        head: QueueHead::from_millis(head),
        is_controlled,
    })
}

statement! {
    ClaimMachine<'a> = include_str!("../../sql/claim_machine.sql");
    (machine: MachineId => SqlUuid, process: &'a Process => Text, session: SessionId => SqlUuid)
    -> (SqlUuid, BigInt, Timestamptz, BigInt, Nullable<BigInt>)
}

/// Claims one machine that the caller has locked and whose gates were open; `None` if a concurrent
/// claim was faster.
///
/// # Errors
/// [`Error::Database`]; [`crate::ErrorKind::LaneTaken`] if a concurrent claim got the lane first.
pub async fn claim_machine(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
    session: SessionId,
) -> Result<Option<Claimed>, Error> {
    let claim = ClaimMachine {
        machine,
        process,
        session,
    };
    let claimed: Option<ClaimedRow> = claim.get_result(conn).await.optional()?;
    Ok(claimed.map(Claimed::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_for_any_provider_differs_only_in_the_provider() {
        assert_eq!(CLAIM.matches("i.provider = $2").count(), 2);
        assert_eq!(CLAIM_OF_ANY.matches("$2::text IS NULL").count(), 2);
        assert!(!CLAIM_OF_ANY.contains("i.provider = $2"));
    }
}
