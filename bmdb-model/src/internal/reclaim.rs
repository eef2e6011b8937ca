//! Reclaiming the work of expired sessions.

use crate::reclaim::{LostAttempt, LostItem};
use crate::statement::statement;
use crate::{Error, MachineId, Process, SessionId};
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    ExpiredItems<'a> = include_str!("../sql/expired_items.sql");
    (sessions: &'a [SessionId] => Array<SqlUuid>)
    -> (SqlUuid, Text, SqlUuid, BigInt, BigInt, BigInt, BigInt)
}

/// Lists the items of these sessions, in the order in which they are locked.
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
    LockItems<'a> = concat!(include_str!("../sql/expired_items.sql"), "LIMIT $2 FOR NO KEY UPDATE OF i");
    (sessions: &'a [SessionId] => Array<SqlUuid>, limit: i64 => BigInt)
    -> (SqlUuid, Text, SqlUuid, BigInt, BigInt, BigInt, BigInt)
}

/// Locks up to `limit` of the items of these sessions; fewer than `limit` are all of them. Call it in a
/// later statement than the one that locked the sessions: that one does not see a claim that was
/// committed in between, and would free its work without recording the attempt.
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
    ExpireItems<'a> = include_str!("../sql/expire_items.sql");
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
