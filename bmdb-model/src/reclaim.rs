//! Reclaimed: freeing the work of sessions that have expired.

use crate::statement::statement;
use crate::{Error, Fence, MachineId, Process, SessionId};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Work held by an expired session, and what its delay is computed from.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct LostItem {
    /// The machine.
    pub machine: MachineId,
    /// The process.
    pub process: Process,
    /// The session.
    pub session: SessionId,
    /// Its claim's fence.
    pub fence: Fence,
    /// How many times in a row it was lost before.
    pub losses: i64,
    /// The process's delay after a first loss, in seconds.
    pub loss_initial_seconds: i64,
    /// The process's longest delay, in seconds.
    pub loss_maximum_seconds: i64,
}

/// An attempt that was recorded as expired.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct LostAttempt {
    /// The machine.
    pub machine: MachineId,
    /// The process.
    pub process: Process,
    /// The lost claim's fence.
    pub fence: Fence,
    /// The session that lost it.
    pub session: SessionId,
    /// How long the machine rests, in seconds.
    pub delay_seconds: Option<i64>,
}

statement! {
    ExpiredItems<'a> = include_str!("sql/expired_items.sql");
    (sessions: &'a [SessionId] => Array<SqlUuid>)
    -> (SqlUuid, Text, SqlUuid, BigInt, BigInt, BigInt, BigInt)
}

/// The items that these sessions hold, in the order in which they are locked.
///
/// # Errors
/// [`Error::Database`].
pub async fn items(
    conn: &mut AsyncPgConnection,
    sessions: &[SessionId],
) -> Result<Vec<LostItem>, Error> {
    Ok(ExpiredItems { sessions }.load(conn).await?)
}

statement! {
    LockItems<'a> = concat!(include_str!("sql/expired_items.sql"), "LIMIT $2 FOR NO KEY UPDATE OF i");
    (sessions: &'a [SessionId] => Array<SqlUuid>, limit: i64 => BigInt)
    -> (SqlUuid, Text, SqlUuid, BigInt, BigInt, BigInt, BigInt)
}

/// Locks up to `limit` of the items that these sessions hold; fewer are all of them. Call it in a later
/// statement than the one that locked the sessions: a claim that committed in between is invisible to
/// that one, and its work would be freed without a trace.
///
/// # Errors
/// [`Error::Database`].
pub async fn lock_items(
    conn: &mut AsyncPgConnection,
    sessions: &[SessionId],
    limit: i64,
) -> Result<Vec<LostItem>, Error> {
    Ok(LockItems { sessions, limit }.load(conn).await?)
}

statement! {
    ExpireItems<'a> = include_str!("sql/expire_items.sql");
    (
        machines: &'a [MachineId] => Array<SqlUuid>, processes: &'a [&'a Process] => Array<Text>,
        delays: &'a [i64] => Array<BigInt>, sessions: &'a [SessionId] => Array<SqlUuid>
    ) -> (SqlUuid, Text, BigInt, SqlUuid, diesel::sql_types::Nullable<BigInt>)
}

/// Frees locked items of these sessions, each with its delay in seconds, and records the attempts as
/// expired.
///
/// # Errors
/// [`Error::Database`].
pub async fn expire(
    conn: &mut AsyncPgConnection,
    items: &[(LostItem, i64)],
    sessions: &[SessionId],
) -> Result<Vec<LostAttempt>, Error> {
    let machines: Vec<MachineId> = items.iter().map(|(item, _)| item.machine).collect();
    let processes: Vec<&Process> = items.iter().map(|(item, _)| &item.process).collect();
    let delays: Vec<i64> = items.iter().map(|(_, delay)| *delay).collect();
    let statement = ExpireItems {
        machines: &machines,
        processes: &processes,
        delays: &delays,
        sessions,
    };
    Ok(statement.load(conn).await?)
}
