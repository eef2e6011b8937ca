//! Sessions: starting and ending them, heartbeats, and the fence check of every transaction.

use super::connection::{PlanSettings, beginning};
use super::machine;
use super::plan::DefinitionsVersion;
use crate::column::Column;
use crate::connection::{Access, Isolation};
use crate::schema::sessions;
use crate::session::SessionRow;
use crate::statement::statement;
use crate::{Error, MachineId, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::join;

diesel::define_sql_function! {
    /// The current time and not the transaction's start: the only clock by which a lease may be judged.
    fn clock_timestamp() -> Timestamptz;
}

statement! {
    Start<'a> = "INSERT INTO sessions (session_id, session_component_name, session_runtime_info, \
                 session_interval_seconds, session_deadline) \
                 VALUES ($1, $2, $3, $4, clock_timestamp() + $4 * interval '1 second')";
    (id: SessionId => SqlUuid, component: &'a str => Text, runtime: &'a str => Text, interval: i64 => BigInt) -> ()
}

/// Starts a session whose lease lasts `interval_seconds` (1 to 86,400) from now.
///
/// # Errors
/// [`Error::Empty`], [`Error::TooLong`] or [`Error::NulByte`] for the labels, [`Error::Database`].
pub async fn start(
    conn: &mut AsyncPgConnection,
    component_name: &str,
    runtime_info: &str,
    interval_seconds: i64,
) -> Result<SessionId, Error> {
    Column::COMPONENT.check_non_empty(component_name)?;
    Column::RUNTIME_INFO.check(runtime_info)?;
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

statement! {
    FenceCheck = "SELECT (SELECT version FROM definitions_version) FROM sessions \
         WHERE session_id = $1 AND session_deadline > clock_timestamp() FOR KEY SHARE";
    (id: SessionId => SqlUuid) -> Nullable<BigInt>
}

/// Fence check: the first statement of every transaction of a session. Returns whether the session is
/// alive.
///
/// It locks the session's row until the end of the transaction. The lock permits heartbeats, and blocks
/// the janitor's `DELETE`. So either the transaction commits before the session is removed, or its
/// fence check finds no session. A deadline that passes meanwhile does no harm.
///
/// # Errors
/// [`Error::Database`].
pub async fn fence_check(conn: &mut AsyncPgConnection, id: SessionId) -> Result<bool, Error> {
    Ok(fence_check_pipelined(conn, id).await?.is_some())
}

/// Also returns the version of the definitions, so that reading them once is enough.
async fn fence_check_pipelined(
    mut conn: &AsyncPgConnection,
    id: SessionId,
) -> Result<Option<DefinitionsVersion>, Error> {
    let alive: Option<Option<i64>> = FenceCheck { id }.get_result(&mut conn).await.optional()?;
    Ok(alive.map(DefinitionsVersion))
}

/// Returns whether a session is alive, without locking it: for read-only transactions, which cannot
/// lock, and need not because they write nothing.
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

/// Begins a transaction with its fence check, in one round trip. Returns the version of the definitions, which
/// a read-only transaction does not ask for, or `None` if the session is not alive; then the caller rolls back.
///
/// # Errors
/// [`Error::Database`]; the transaction may be open then.
pub async fn begin_fenced(
    conn: &mut AsyncPgConnection,
    isolation: Isolation,
    access: Access,
    id: SessionId,
) -> Result<Option<DefinitionsVersion>, Error> {
    let check = async |conn: &AsyncPgConnection| match access {
        Access::ReadWrite => fence_check_pipelined(conn, id).await,
        Access::ReadOnly => {
            let alive = is_alive_pipelined(conn, id).await?;
            Ok(alive.then_some(DefinitionsVersion(None)))
        }
    };
    beginning(conn, PlanSettings::Default, (isolation, access), check).await
}

/// Like [`begin_fenced`], and touches machines, waiting for locks on them, still in one round trip.
///
/// # Errors
/// [`Error::NoSuchMachine`]; [`Error::Database`]; the transaction may be open then.
pub async fn begin_fenced_touching(
    conn: &mut AsyncPgConnection,
    isolation: Isolation,
    id: SessionId,
    machines: &[MachineId],
) -> Result<Option<DefinitionsVersion>, Error> {
    // If the transaction does not begin, a touch on its own does no harm.
    let first = async |conn: &AsyncPgConnection| {
        let check = fence_check_pipelined(conn, id);
        let (alive, touched) = join(check, machine::touch_pipelined(conn, machines)).await;
        Ok((alive?, touched))
    };
    let how = (isolation, Access::ReadWrite);
    let (alive, touched) = beginning(conn, PlanSettings::Default, how, first).await?;
    if alive.is_some() {
        touched?;
    }
    Ok(alive)
}

statement! {
    Heartbeat<'a> = include_str!("../sql/heartbeat.sql");
    (ids: &'a [SessionId] => Array<SqlUuid>) -> SqlUuid
}

/// Sends one heartbeat for all of a program's sessions; returns those that are alive.
///
/// # Errors
/// [`Error::Database`].
pub async fn heartbeat(
    conn: &mut AsyncPgConnection,
    ids: &[SessionId],
) -> Result<Vec<SessionId>, Error> {
    Ok(Heartbeat { ids }.load(conn).await?)
}

/// Locks a session against its heartbeats, its transactions and the janitor. Returns whether it exists.
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

/// Lists the expired sessions, the one that expired first at the top, with the database's time.
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

/// Locks up to `limit` expired sessions that no other transaction has locked, and returns them.
///
/// The deadline is checked on the locked row. `DELETE … WHERE session_id IN (SELECT expired)` looks the
/// same, but deleted a session that a heartbeat had just renewed.
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

/// Keeps locked sessions for a later transaction. Their rows are updated without a change, so that a
/// transaction that waits for them checks their deadlines again: after a mere lock it would use the row
/// as it was before the wait.
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

/// Deletes sessions whose work has been freed; fails if one still has claimed work.
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

/// Ends a session's lease now; returns whether it was alive. As after any deadline, none of its claims,
/// ends and transactions can begin any more, and the janitor reclaims its work.
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

/// Lists all sessions, the oldest first.
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
