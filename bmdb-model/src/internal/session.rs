//! Sessions: a component's lease, its heartbeat, and the check that fences every transaction.

use super::connection::beginning;
use super::plan::{self, Definitions};
use crate::connection::{Access, Isolation};
use crate::error::{storable, storable_non_empty};
use crate::schema::sessions;
use crate::session::SessionRow;
use crate::statement::statement;
use crate::{Error, MachineId, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::join;

diesel::define_sql_function! {
    /// The time now, not the transaction's start: the only clock that may judge a lease.
    fn clock_timestamp() -> Timestamptz;
}

statement! {
    Start<'a> = "INSERT INTO sessions (session_id, session_component_name, session_runtime_info, \
                 session_interval_seconds, session_deadline) \
                 VALUES ($1, $2, $3, $4, clock_timestamp() + $4 * interval '1 second')";
    (id: SessionId => SqlUuid, component: &'a str => Text, runtime: &'a str => Text, interval: i64 => BigInt) -> ()
}

/// Starts a session whose lease lasts `interval_seconds` (1 to 86 400) from now.
///
/// # Errors
/// [`Error::Empty`] or [`Error::NulByte`] for the labels, [`Error::Database`].
pub async fn start(
    conn: &mut AsyncPgConnection,
    component_name: &str,
    runtime_info: &str,
    interval_seconds: i64,
) -> Result<SessionId, Error> {
    storable_non_empty("component name", component_name)?;
    storable("runtime info", runtime_info)?;
    let id = SessionId::random();
    let start = Start {
        id,
        component: component_name,
        runtime: runtime_info,
        interval: interval_seconds,
    };
    start.execute(conn).await?;
    Ok(id)
}

/// The fence check, the first statement of every transaction of a session: whether it lives.
///
/// The row stays locked to the end of the transaction with a lock that lets heartbeats pass and
/// makes the janitor's `DELETE` wait. So either the transaction commits before the session is
/// removed, or its fence check finds nothing; a deadline that passes meanwhile does no harm.
///
/// # Errors
/// [`Error::Database`].
pub async fn fence_check(conn: &mut AsyncPgConnection, id: SessionId) -> Result<bool, Error> {
    fence_check_pipelined(conn, id).await
}

async fn fence_check_pipelined(mut conn: &AsyncPgConnection, id: SessionId) -> Result<bool, Error> {
    let alive: Option<i32> = sessions::table
        .filter(sessions::session_id.eq(id))
        .filter(sessions::session_deadline.gt(clock_timestamp()))
        .select(1.into_sql::<diesel::sql_types::Integer>())
        .for_key_share()
        .first(&mut conn)
        .await
        .optional()?;
    Ok(alive.is_some())
}

/// Whether a session lives, without locking it: for read-only transactions, which cannot lock and
/// need not, because they write nothing.
///
/// # Errors
/// [`Error::Database`].
pub async fn is_alive(conn: &mut AsyncPgConnection, id: SessionId) -> Result<bool, Error> {
    is_alive_pipelined(conn, id).await
}

async fn is_alive_pipelined(mut conn: &AsyncPgConnection, id: SessionId) -> Result<bool, Error> {
    let query = sessions::table
        .filter(sessions::session_id.eq(id))
        .filter(sessions::session_deadline.gt(clock_timestamp()));
    Ok(diesel::select(diesel::dsl::exists(query))
        .get_result(&mut conn)
        .await?)
}

/// Begins a transaction with its fence check, in one round trip; whether the session lives. The caller
/// rolls back unless it does.
///
/// # Errors
/// [`Error::Database`]; the transaction may be open then.
pub async fn begin_fenced(
    conn: &mut AsyncPgConnection,
    isolation: Isolation,
    access: Access,
    id: SessionId,
) -> Result<bool, Error> {
    let check = async |conn: &AsyncPgConnection| match access {
        Access::ReadWrite => fence_check_pipelined(conn, id).await,
        Access::ReadOnly => is_alive_pipelined(conn, id).await,
    };
    beginning(conn, isolation, access, check).await
}

/// As [`begin_fenced`], and touches machines, which somebody may have to be waited for, still in one
/// round trip; the processes to plan them by, or `None` when the session does not live.
///
/// # Errors
/// [`Error::NoSuchMachine`]; [`Error::Database`]; the transaction may be open then.
pub async fn begin_fenced_touching(
    conn: &mut AsyncPgConnection,
    isolation: Isolation,
    id: SessionId,
    machines: &[MachineId],
) -> Result<Option<Definitions>, Error> {
    // Should the transaction not begin, a touch by itself does no harm.
    let first = async |conn: &AsyncPgConnection| {
        let check = fence_check_pipelined(conn, id);
        let (alive, touched) = join(check, plan::touch_pipelined(conn, machines)).await;
        Ok((alive?, touched))
    };
    let (alive, touched) = beginning(conn, isolation, Access::ReadWrite, first).await?;
    if alive { touched.map(Some) } else { Ok(None) }
}

statement! {
    Heartbeat<'a> = include_str!("../sql/heartbeat.sql");
    (ids: &'a [SessionId] => Array<SqlUuid>) -> SqlUuid
}

/// One heartbeat for all of a program's sessions; returns those that still live.
///
/// # Errors
/// [`Error::Database`].
pub async fn heartbeat(
    conn: &mut AsyncPgConnection,
    ids: &[SessionId],
) -> Result<Vec<SessionId>, Error> {
    Ok(Heartbeat { ids }.load(conn).await?)
}

/// Locks a session against its heartbeats, its transactions and the janitor; whether it was there.
///
/// # Errors
/// [`Error::Database`].
pub async fn lock(conn: &mut AsyncPgConnection, id: SessionId) -> Result<bool, Error> {
    let found: Option<SessionId> = sessions::table
        .filter(sessions::session_id.eq(id))
        .select(sessions::session_id)
        .for_update()
        .first(conn)
        .await
        .optional()?;
    Ok(found.is_some())
}

/// The sessions that have expired, the one that expired first first, and the database's time.
///
/// # Errors
/// [`Error::Database`].
pub async fn expired(
    conn: &mut AsyncPgConnection,
) -> Result<(DateTime<Utc>, Vec<SessionRow>), Error> {
    let now = crate::connection::clock(conn).await?;
    let expired = sessions::table
        .filter(sessions::session_deadline.lt(now))
        .select(SessionRow::as_select())
        .order((sessions::session_deadline, sessions::session_id))
        .load(conn)
        .await?;
    Ok((now, expired))
}

/// Locks up to `limit` expired sessions that nobody else has locked, and returns them.
///
/// The deadline is tested on the locked row. `DELETE … WHERE session_id IN (SELECT expired)` looks
/// the same and deleted a session that a heartbeat had just saved.
///
/// # Errors
/// [`Error::Database`].
pub async fn lock_expired(
    conn: &mut AsyncPgConnection,
    limit: i64,
) -> Result<Vec<SessionId>, Error> {
    Ok(sessions::table
        .filter(sessions::session_deadline.lt(clock_timestamp()))
        .select(sessions::session_id)
        .limit(limit)
        .for_update()
        .skip_locked()
        .load(conn)
        .await?)
}

/// Keeps locked sessions for a later transaction, in such a way that whoever waits for them judges their
/// deadlines again: a row that was only locked is taken for what it was before the wait.
///
/// # Errors
/// [`Error::Database`].
pub async fn keep(conn: &mut AsyncPgConnection, ids: &[SessionId]) -> Result<usize, Error> {
    Ok(
        diesel::update(sessions::table.filter(sessions::session_id.eq_any(ids)))
            .set(sessions::session_deadline.eq(sessions::session_deadline))
            .execute(conn)
            .await?,
    )
}

/// Deletes sessions whose work has been freed; one that still holds work makes this fail.
///
/// # Errors
/// [`Error::Database`].
pub async fn delete(conn: &mut AsyncPgConnection, ids: &[SessionId]) -> Result<usize, Error> {
    Ok(
        diesel::delete(sessions::table.filter(sessions::session_id.eq_any(ids)))
            .execute(conn)
            .await?,
    )
}

/// Ends a session's lease now; whether it lived. As with any deadline that has passed, none of its
/// claims, ends and transactions begins any more, and the janitor frees what it holds.
///
/// # Errors
/// [`Error::Database`].
pub async fn end(conn: &mut AsyncPgConnection, id: SessionId) -> Result<bool, Error> {
    let living = sessions::table
        .filter(sessions::session_id.eq(id))
        .filter(sessions::session_deadline.gt(clock_timestamp()));
    let ended = diesel::update(living)
        .set(sessions::session_deadline.eq(clock_timestamp()))
        .execute(conn)
        .await?;
    Ok(ended == 1)
}

/// All sessions, oldest first.
///
/// # Errors
/// [`Error::Database`].
pub async fn all(conn: &mut AsyncPgConnection) -> Result<Vec<SessionRow>, Error> {
    Ok(sessions::table
        .select(SessionRow::as_select())
        .order((sessions::session_created_at, sessions::session_id))
        .load(conn)
        .await?)
}
