//! Claims of processes that replan on claim, whose items may seem due before they are.
//!
//! Heartbeats move the deadline in the workflow's view and are not planned, so an item can be too early
//! but never too late. A claim locks the items that seem due, replans them, which moves the deadlines
//! of those that are not, and claims the rest.

use super::claim::{Claimed, ClaimedRow, Providers};
use super::claim_provided::{ProvidedColumns, ProvidedRow, joining_provided, tag};
use super::head::{QueueHead, at_the_head, at_the_head_of_any};
use crate::internal::plan::{self, Definitions};
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, MachineId, Process, Provider, SessionId};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::join;
use std::sync::LazyLock;

const CLAIM_PLANNED: &str = include_str!("../../sql/claim_planned.sql");

static CLAIM_PLANNED_READING: LazyLock<String> = LazyLock::new(|| joining_provided(CLAIM_PLANNED));

const LOCK_DUE: &str = include_str!("../../sql/lock_due.sql");

/// Like the claim, a separate text for all providers.
static LOCK_DUE_OF_ANY: LazyLock<String> =
    LazyLock::new(|| LOCK_DUE.replace("i.provider = $2", "$2::text IS NULL"));

statement! {
    PossiblyDueOfProvider<'a> = at_the_head!("../../sql/possibly_due.sql");
    (process: &'a Process => Text, provider: &'a Provider => Text, cursor: Option<DateTime<Utc>> => Nullable<Timestamptz>, session: SessionId => SqlUuid)
    -> (Bool, Nullable<BigInt>, Bool)
}

statement! {
    PossiblyDueOfAny<'a> = at_the_head_of_any!("../../sql/possibly_due.sql");
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>, cursor: Option<DateTime<Utc>> => Nullable<Timestamptz>, session: SessionId => SqlUuid)
    -> (Bool, Nullable<BigInt>, Bool)
}

/// The same for machines without a provider.
static LOCK_DUE_OF_NONE: LazyLock<String> = LazyLock::new(|| {
    LOCK_DUE.replace("i.provider = $2", "$2::text IS NULL AND i.provider IS NULL")
});

statement! {
    LockDueOfProvider<'a> = LOCK_DUE;
    (process: &'a Process => Text, provider: &'a Provider => Text, limit: i64 => BigInt) -> SqlUuid
}

statement! {
    LockDueOfAny<'a> = &LOCK_DUE_OF_ANY;
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>, limit: i64 => BigInt) -> SqlUuid
}

statement! {
    LockDueOfNone<'a> = &LOCK_DUE_OF_NONE;
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>, limit: i64 => BigInt) -> SqlUuid
}

statement! {
    ClaimPlanned<'a> = CLAIM_PLANNED;
    (
        machines: &'a [MachineId] => Array<SqlUuid>,
        process: &'a Process => Text,
        provider: Option<&'a Provider> => Nullable<Text>,
        limit: i64 => BigInt,
        session: SessionId => SqlUuid,
    ) -> (SqlUuid, BigInt, Timestamptz, BigInt, Nullable<BigInt>)
}

statement! {
    ClaimPlannedReading<'a> = &CLAIM_PLANNED_READING;
    (
        machines: &'a [MachineId] => Array<SqlUuid>,
        process: &'a Process => Text,
        provider: Option<&'a Provider> => Nullable<Text>,
        limit: i64 => BigInt,
        session: SessionId => SqlUuid,
    ) -> ((SqlUuid, BigInt, Timestamptz, BigInt, Nullable<BigInt>), ProvidedColumns)
}

/// Reads the head of a process's queue, and if that is due, whether limits, breakers or pauses may stop the
/// process; `None` if the session has expired.
///
/// # Errors
/// [`Error::Database`].
pub async fn possibly_due(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: Option<&Provider>,
    session: SessionId,
) -> Result<Option<(QueueHead, bool)>, Error> {
    // Replanned items are at the far end of the queue, so there is nothing to skip.
    let cursor = None;
    macro_rules! read {
        ($statement:ident, $provider:expr) => {{
            let head = $statement {
                process,
                provider: $provider,
                cursor,
                session,
            };
            head.get_result(conn).await?
        }};
    }
    let (is_alive, due_in, is_controlled): (bool, Option<i64>, bool) = match provider {
        Some(provider) => read!(PossiblyDueOfProvider, provider),
        None => read!(PossiblyDueOfAny, None),
    };
    Ok(is_alive.then_some((QueueHead::from_millis(due_in), is_controlled)))
}

/// Locks up to `limit` machines whose items seem due and whose lanes are free, the longest due first,
/// and reads the definitions to plan them by, in one round trip. Plan them, and call [`claim_planned`],
/// in later statements of the same READ COMMITTED transaction. Machines that other transactions have
/// locked are left out.
///
/// # Errors
/// [`Error::Database`].
pub async fn lock_due(
    conn: &mut AsyncPgConnection,
    process: &Process,
    providers: Providers<'_>,
    limit: i64,
) -> Result<(Vec<MachineId>, Definitions), Error> {
    let conn = &*conn;
    let lock = lock_due_pipelined(conn, process, providers, limit);
    let (locked, definitions) = join(lock, plan::definitions_pipelined(conn)).await;
    Ok((locked?, definitions?))
}

async fn lock_due_pipelined(
    mut conn: &AsyncPgConnection,
    process: &Process,
    providers: Providers<'_>,
    limit: i64,
) -> Result<Vec<MachineId>, Error> {
    macro_rules! lock {
        ($statement:ident, $provider:expr) => {{
            let lock = $statement {
                process,
                provider: $provider,
                limit,
            };
            lock.load(&mut conn).await?
        }};
    }
    Ok(match providers {
        Providers::One(provider) => lock!(LockDueOfProvider, provider),
        Providers::Any => lock!(LockDueOfAny, None),
        Providers::None => lock!(LockDueOfNone, None),
    })
}

/// Claims up to `limit` of the machines that are due, for a session that the caller's transaction has
/// checked. Earlier statements of the transaction have locked and planned the machines.
///
/// # Errors
/// [`Error::Database`]; [`crate::ErrorKind::LaneTaken`] if a concurrent claim got the lane first.
pub async fn claim_planned(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    process: &Process,
    provider: Option<&Provider>,
    session: SessionId,
    limit: i64,
) -> Result<Vec<Claimed>, Error> {
    let claim = ClaimPlanned {
        machines,
        process,
        provider,
        limit,
        session,
    };
    let claimed: Vec<ClaimedRow> = claim.load(conn).await?;
    Ok(claimed.into_iter().map(Claimed::from).collect())
}

/// Like [`claim_planned`], and reads the tag `machine_provided` of the claimed machines in the same statement.
/// A tag that this release cannot read fails no other machine.
///
/// # Errors
/// As [`claim_planned`].
pub async fn claim_planned_reading_provided(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    process: &Process,
    provider: Option<&Provider>,
    session: SessionId,
    limit: i64,
) -> Result<Vec<Claimed>, Error> {
    let claim = ClaimPlannedReading {
        machines,
        process,
        provider,
        limit,
        session,
    };
    let claimed: Vec<(ClaimedRow, ProvidedRow)> = claim.load(conn).await?;
    let claimed = claimed.into_iter().map(|(claimed, provided)| Claimed {
        provided: tag(provided),
        ..Claimed::from(claimed)
    });
    Ok(claimed.collect())
}

statement! {
    Postpone<'a> = "UPDATE work_item i SET plan_at = clock_timestamp() + interval '1 minute' \
         FROM (SELECT machine_id FROM work_item \
               WHERE machine_id = ANY ($1) AND process = $2 \
                 AND eligible AND session_id IS NULL AND ready_at <= now() \
               ORDER BY machine_id FOR NO KEY UPDATE SKIP LOCKED) d \
         WHERE i.machine_id = d.machine_id AND i.process = $2";
    (machines: &'a [MachineId] => Array<SqlUuid>, process: &'a Process => Text) -> ()
}

/// Makes due items of locked machines due again in a minute, because the process's workflow fails for them.
/// At the head of the queue they would be locked and planned by every claim, and fill its batches.
///
/// # Errors
/// [`Error::Database`].
pub async fn postpone_due(
    conn: &mut AsyncPgConnection,
    process: &Process,
    machines: &[MachineId],
) -> Result<(), Error> {
    Postpone { machines, process }.execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::LOCK_DUE_OF_ANY;

    #[test]
    fn the_text_for_any_provider_differs_in_the_provider() {
        assert_eq!(LOCK_DUE_OF_ANY.matches("$2::text IS NULL").count(), 1);
    }
}
