//! Claiming work items, from the queue or one by one.

use super::head::{QueueHead, at_the_head, at_the_head_of_any};
use crate::statement::statement;
use crate::{Error, Fence, MachineId, Process, Provider, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::sync::LazyLock;

/// What a claim got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The machine.
    pub machine: MachineId,
    /// The claim's fence.
    pub fence: Fence,
    /// When the claim was made, by the database's clock.
    pub started_at: DateTime<Utc>,
    /// How many times in a row the process has failed on the machine.
    pub failures: i64,
    /// The interval of the backoff it is coming out of, in seconds.
    pub previous_interval: Option<i64>,
    /// Since when it was due, where the claim went by that: from the queue of a process that is not
    /// time-driven. `None` also where its workflow says that it has been due for ever.
    pub ready_at: Option<DateTime<Utc>>,
}

/// What the claims return that do not go by the queue's order alone.
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
        }
    }
}

/// What one claim got of the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimBatch {
    /// The work items.
    pub claimed: Vec<Claimed>,
    /// When the last of them in the queue was ready: the floor for the next claim.
    pub latest: Option<DateTime<Utc>>,
    /// What was first in the queue, from the floor on, before anything was claimed.
    pub head: QueueHead,
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
    -> (Bool, Nullable<BigInt>, ClaimColumns)
}

statement! {
    ClaimOfAny<'a> = &CLAIM_OF_ANY;
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>, cursor: Option<DateTime<Utc>> => Nullable<Timestamptz>, session: SessionId => SqlUuid, limit: i64 => BigInt)
    -> (Bool, Nullable<BigInt>, ClaimColumns)
}

/// The text of a claim of one provider's machines, as [`claim_from`] prepares it: what it costs can
/// be measured and explained without this crate. Its parameters are the process, the provider, the
/// floor, the session and the limit.
pub const CLAIM: &str = at_the_head!("../../sql/claim.sql");

/// The claim query for all providers.
static CLAIM_OF_ANY: LazyLock<String> = LazyLock::new(|| {
    at_the_head_of_any!("../../sql/claim.sql").replace("i.provider = $2", "$2::text IS NULL")
});

type ClaimRow = (
    bool,
    Option<i64>,
    (
        Option<MachineId>,
        Option<Fence>,
        Option<DateTime<Utc>>,
        Option<DateTime<Utc>>,
        Option<i64>,
        Option<i64>,
    ),
);

/// Claims up to `limit` due items of a process for a session; `None` when the session has expired.
///
/// One statement, meant to run in its own transaction at READ COMMITTED. That level is safe here
/// because every condition of a claim is a column of the row that is locked, and a locked row is
/// tested again in its newest version; what was looked up in other tables would be stale.
///
/// An empty answer does not prove that nothing is due: items that others have locked are skipped.
/// Without a provider the whole queue of the process is sorted, so the cost grows with what is due.
///
/// # Errors
/// [`Error::Database`]; a unique violation on `work_item_lane` ([`crate::ErrorKind::LaneTaken`])
/// means that a rival was faster on one of the machines: ask again.
pub async fn claim(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: Option<&Provider>,
    session: SessionId,
    limit: i64,
) -> Result<Option<Vec<Claimed>>, Error> {
    let batch = claim_from(conn, process, provider, None, session, limit).await?;
    Ok(batch.map(|batch| batch.claimed))
}

/// As [`claim`], passing over whatever is ready before `floor`, without looking at it.
///
/// A hint for the one who has just claimed up to there: what long-running readers keep from being
/// vacuumed gathers at the queue's head, and every claim would step over all of it. PendingTasks without a
/// floor now and then, for items appear below it as well: canceled, committed late, moved back.
///
/// # Errors
/// As [`claim`].
pub async fn claim_from(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: Option<&Provider>,
    cursor: Option<DateTime<Utc>>,
    session: SessionId,
    limit: i64,
) -> Result<Option<ClaimBatch>, Error> {
    let rows: Vec<ClaimRow> = match provider {
        Some(provider) => {
            ClaimOfProvider {
                process,
                provider,
                cursor,
                session,
                limit,
            }
            .load(conn)
            .await?
        }
        None => {
            ClaimOfAny {
                process,
                provider,
                cursor,
                session,
                limit,
            }
            .load(conn)
            .await?
        }
    };
    let claimed: Vec<Claimed> = rows
        .iter()
        .filter_map(
            |(_, _, (machine, fence, started_at, ready_at, failures, previous_interval))| {
                Some(Claimed {
                    machine: (*machine)?,
                    fence: (*fence)?,
                    started_at: (*started_at)?,
                    failures: (*failures)?,
                    previous_interval: *previous_interval,
                    ready_at: *ready_at,
                })
            },
        )
        .collect();
    // Work of a session that expired within the statement is still returned: the caller must know
    // of it to end it.
    let is_alive = rows.iter().any(|(is_alive, ..)| *is_alive) || !claimed.is_empty();
    let latest = rows.iter().filter_map(|(.., columns)| columns.3).max();
    let head = rows.iter().find_map(|(_, due_in, _)| *due_in);
    Ok(is_alive.then_some(ClaimBatch {
        claimed,
        latest,
        head: QueueHead::from_millis(head),
    }))
}

statement! {
    ClaimMachine<'a> = include_str!("../../sql/claim_machine.sql");
    (machine: MachineId => SqlUuid, process: &'a Process => Text, session: SessionId => SqlUuid)
    -> (SqlUuid, BigInt, Timestamptz, BigInt, Nullable<BigInt>)
}

/// Claims one machine that the caller has locked and whose gates it has seen open; `None` when a
/// rival was faster.
///
/// # Errors
/// [`Error::Database`]; [`crate::ErrorKind::LaneTaken`] when a rival in the lane was faster.
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

/// What stands between a process and a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nothing.
    Open,
    /// Somebody holds a process of the same lane.
    LaneTaken,
    /// The process is backing off there.
    BackedOff {
        /// To when.
        until: DateTime<Utc>,
    },
    /// The machine is on hold.
    OnHold,
    /// There is no such machine.
    Unknown,
}

statement! {
    Gates<'a> = include_str!("../../sql/gates.sql");
    (process: &'a Process => Text, machines: &'a [MachineId] => Array<SqlUuid>)
    -> (SqlUuid, Bool, Bool, Bool, Nullable<Timestamptz>)
}

/// The gates of `machines` for a process, in the order given.
///
/// # Errors
/// [`Error::Database`].
pub async fn gates(
    conn: &mut AsyncPgConnection,
    process: &Process,
    machines: &[MachineId],
) -> Result<Vec<(MachineId, Gate)>, Error> {
    type Row = (MachineId, bool, bool, bool, Option<DateTime<Utc>>);
    let rows: Vec<Row> = Gates { process, machines }.load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|(machine, known, on_hold, lane_taken, backoff_until)| {
            let gate = match (known, on_hold, lane_taken, backoff_until) {
                (false, ..) => Gate::Unknown,
                (_, true, ..) => Gate::OnHold,
                (_, _, true, _) => Gate::LaneTaken,
                (_, _, _, Some(until)) => Gate::BackedOff { until },
                _ => Gate::Open,
            };
            (machine, gate)
        })
        .collect())
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
