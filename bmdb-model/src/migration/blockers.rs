//! Connections that block a migrator, or a change of definitions.

use super::lock_holder::LockHolder;
use crate::Error;
use crate::statement::statement;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    InTheWayOf = "SELECT DISTINCT b.pid, coalesce(a.application_name, ''), host(a.client_addr), \
                  extract(epoch FROM clock_timestamp() - a.xact_start)::bigint \
                  FROM unnest(pg_blocking_pids($1)) AS b (pid) \
                  LEFT JOIN pg_stat_activity a ON a.pid = b.pid ORDER BY b.pid";
    (pid: i32 => Integer) -> (Integer, Text, Nullable<Text>, Nullable<BigInt>)
}

/// Lists the connections that block the connection with this server process at this moment; empty if it
/// does not wait for a lock. Use another connection for this query.
///
/// # Errors
/// [`Error::Database`].
pub async fn in_the_way_of(
    conn: &mut AsyncPgConnection,
    pid: i32,
) -> Result<Vec<LockHolder>, Error> {
    Ok(InTheWayOf { pid }.load(conn).await?)
}

statement! {
    // The 32-bit key of an advisory lock is its `objid`; the upper half is zero.
    HolderOf = "SELECT l.pid, coalesce(a.application_name, ''), host(a.client_addr), \
                extract(epoch FROM clock_timestamp() - a.xact_start)::bigint \
                FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
                WHERE l.locktype = 'advisory' AND l.granted AND l.objid::bigint = $1 \
                  AND l.classid = 0 AND l.objsubid = 1 \
                  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    (key: i64 => BigInt) -> (Integer, Text, Nullable<Text>, Nullable<BigInt>)
}

/// Returns the connection that has the advisory lock with this 32-bit key.
pub(super) async fn of_advisory(
    conn: &mut AsyncPgConnection,
    key: i64,
) -> QueryResult<Option<LockHolder>> {
    HolderOf { key }.get_result(conn).await.optional()
}
