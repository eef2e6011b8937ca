//! Machines: creating, finding, touching and deleting them.

use crate::schema::{machines, work_item};
use crate::statement::statement;
use crate::tag::{self, TagName};
use crate::time::Stored;
use crate::{Error, IdPrefix, MachineId, hold, internal};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A row of `machines`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = machines, check_for_backend(diesel::pg::Pg))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Machine {
    #[diesel(column_name = machine_id)]
    pub id: MachineId,
    #[diesel(column_name = machine_created_at, deserialize_as = Stored)]
    pub created_at: DateTime<Utc>,
    /// How many times the machine's tags were written.
    #[diesel(column_name = machine_version)]
    pub version: i64,
}

statement! {
    Create<'a> = "INSERT INTO machines (machine_id) SELECT unnest($1::uuid[])";
    (ids: &'a [MachineId] => Array<SqlUuid>) -> ()
}

/// Creates machines with the given ids, in one statement.
///
/// # Errors
/// [`Error::Database`], with a unique violation when an id is taken.
pub async fn create(conn: &mut AsyncPgConnection, ids: &[MachineId]) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    Create { ids: &ids }.execute(conn).await?;
    Ok(())
}

/// Returns the machine, if it exists.
///
/// # Errors
/// [`Error::Database`].
pub async fn find(conn: &mut AsyncPgConnection, id: MachineId) -> Result<Option<Machine>, Error> {
    Ok(machines::table
        .find(id)
        .select(Machine::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Locks the machines in id order and increments their versions, before their tags are written.
///
/// Without this, concurrent writers of different tags would plan from outdated tags.
///
/// # Errors
/// [`Error::NoSuchMachine`], [`Error::Database`].
pub async fn touch(conn: &mut AsyncPgConnection, ids: &[MachineId]) -> Result<(), Error> {
    internal::machine::touch_pipelined(conn, ids).await
}

/// Lists up to `limit` machines after `after`, in id order.
///
/// # Errors
/// [`Error::Database`].
pub async fn page(
    conn: &mut AsyncPgConnection,
    after: Option<MachineId>,
    limit: i64,
) -> Result<Vec<MachineId>, Error> {
    let mut page = machines::table
        .order(machines::machine_id)
        .limit(limit)
        .select(machines::machine_id)
        .into_boxed();
    if let Some(after) = after {
        page = page.filter(machines::machine_id.gt(after));
    }
    Ok(page.load(conn).await?)
}

/// Lists the first `limit` machines whose id has this prefix, in id order.
///
/// # Errors
/// [`Error::Database`].
pub async fn with_prefix(
    conn: &mut AsyncPgConnection,
    prefix: &IdPrefix,
    limit: i64,
) -> Result<Vec<MachineId>, Error> {
    Ok(machines::table
        .filter(machines::machine_id.between(prefix.first_id(), prefix.last_id()))
        .order(machines::machine_id)
        .limit(limit)
        .select(machines::machine_id)
        .load(conn)
        .await?)
}

/// Deletes a machine with its tags and its unclaimed work items. Its history stays.
///
/// # Errors
/// [`Error::NoSuchMachine`]; [`Error::MachineHasWork`]; [`Error::Database`], also when a table of
/// a downstream user still refers to the machine.
pub async fn delete(conn: &mut AsyncPgConnection, id: MachineId) -> Result<(), Error> {
    delete_all(conn, &[id]).await
}

/// Like [`delete`] for many machines, in as many statements as for one.
///
/// # Errors
/// As [`delete`], for the first machine by id that is refused. The transaction must be rolled back then,
/// because some tags may be gone.
pub async fn delete_all(conn: &mut AsyncPgConnection, ids: &[MachineId]) -> Result<(), Error> {
    touch(conn, ids).await?;
    // Only unclaimed items are deleted. A claimed one, even if it was claimed meanwhile, keeps the
    // machine by its foreign key.
    let idle = work_item::machine_id
        .eq_any(ids)
        .and(work_item::session_id.is_null());
    diesel::delete(work_item::table.filter(idle))
        .execute(conn)
        .await?;
    let claimed: Option<MachineId> = work_item::table
        .filter(work_item::machine_id.eq_any(ids))
        .order(work_item::machine_id)
        .select(work_item::machine_id)
        .first(conn)
        .await
        .optional()?;
    if let Some(machine) = claimed {
        return Err(Error::MachineHasWork(machine));
    }
    hold::unset_all(conn, ids).await?;
    for tag in TagName::ALL {
        tag::unset_all(conn, ids, tag).await?;
    }
    diesel::delete(machines::table.filter(machines::machine_id.eq_any(ids)))
        .execute(conn)
        .await?;
    Ok(())
}
