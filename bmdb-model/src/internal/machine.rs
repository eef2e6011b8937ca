//! Locking machines.

use crate::rows;
use crate::schema::machines;
use crate::statement::statement;
use crate::{Error, MachineId};
use diesel::prelude::*;
use diesel::sql_types::{Array, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::collections::HashSet;

statement! {
    Touch<'a> = include_str!("../sql/touch.sql");
    (ids: &'a [MachineId] => Array<SqlUuid>) -> SqlUuid
}

/// Like [`touch`](crate::machine::touch), pipelined with other statements of the connection.
pub(crate) async fn touch_pipelined(
    mut conn: &AsyncPgConnection,
    ids: &[MachineId],
) -> Result<(), Error> {
    let touched: Vec<MachineId> = Touch { ids }.load(&mut conn).await?;
    rows::all_of(ids, touched)
}

/// Like [`touch`](crate::machine::touch), but skips machines that do not exist. Returns those that do.
///
/// # Errors
/// [`Error::Database`].
pub async fn touch_existing(
    conn: &mut AsyncPgConnection,
    ids: &[MachineId],
) -> Result<Vec<MachineId>, Error> {
    Ok(Touch { ids }.load(conn).await?)
}

statement! {
    TouchFree<'a> = "WITH free AS MATERIALIZED ( \
             SELECT machine_id FROM machines WHERE machine_id = ANY ($1) \
             ORDER BY machine_id FOR NO KEY UPDATE SKIP LOCKED \
         ) \
         UPDATE machines SET machine_version = least(machine_version, 9223372036854775806) + 1 \
         WHERE machine_id = ANY (ARRAY(SELECT machine_id FROM free)) \
         RETURNING machine_id";
    (ids: &'a [MachineId] => Array<SqlUuid>) -> SqlUuid
}

/// Like [`touch`](crate::machine::touch), but skips machines that another transaction has locked or that
/// do not exist. Returns those that it touched.
///
/// # Errors
/// [`Error::Database`].
pub async fn touch_free(
    conn: &mut AsyncPgConnection,
    ids: &[MachineId],
) -> Result<Vec<MachineId>, Error> {
    Ok(TouchFree { ids }.load(conn).await?)
}

/// Returns those of the machines that exist.
///
/// # Errors
/// [`Error::Database`].
pub async fn existing(
    conn: &mut AsyncPgConnection,
    ids: &[MachineId],
) -> Result<HashSet<MachineId>, Error> {
    let found: Vec<MachineId> = machines::table
        .filter(machines::machine_id.eq_any(ids))
        .select(machines::machine_id)
        .load(conn)
        .await?;
    Ok(found.into_iter().collect())
}

statement! {
    LockFirst<'a> = include_str!("../sql/lock_first.sql");
    (ids: &'a [MachineId] => Array<SqlUuid>) -> SqlUuid
}

/// Locks the first of the machines that is not locked by another transaction; `None` if all are.
///
/// # Errors
/// [`Error::Database`].
pub async fn lock_first_free(
    conn: &mut AsyncPgConnection,
    ids: &[MachineId],
) -> Result<Option<MachineId>, Error> {
    Ok(LockFirst { ids }.get_result(conn).await.optional()?)
}

/// Locks the machine, and waits for other locks on it. Returns whether it exists.
///
/// # Errors
/// [`Error::Database`].
pub async fn lock(conn: &mut AsyncPgConnection, id: MachineId) -> Result<bool, Error> {
    let found: Option<MachineId> = machines::table
        .find(id)
        .select(machines::machine_id)
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?;
    Ok(found.is_some())
}
