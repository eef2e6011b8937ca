//! Machines: creating, finding, touching and deleting them.

use crate::schema::{
    machine_agent_heartbeat, machine_agent_started, machine_hardware_report, machine_hold,
    machine_os_installation_report, machine_os_installation_request, machine_provided, machines,
    work_item,
};
use crate::time::Stored;
use crate::{Error, IdPrefix, MachineId, internal};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
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

/// Creates machines with the given ids.
///
/// # Errors
/// [`Error::Database`], with a unique violation when an id is taken.
pub async fn create(conn: &mut AsyncPgConnection, ids: &[MachineId]) -> Result<(), Error> {
    let rows: Vec<_> = ids.iter().map(|id| machines::machine_id.eq(*id)).collect();
    diesel::insert_into(machines::table)
        .values(rows)
        .execute(conn)
        .await?;
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
    touch(conn, &[id]).await?;
    // Only unclaimed items are deleted. A claimed one, even if it was claimed meanwhile, keeps the
    // machine by its foreign key.
    let idle = work_item::machine_id
        .eq(id)
        .and(work_item::session_id.is_null());
    diesel::delete(work_item::table.filter(idle))
        .execute(conn)
        .await?;
    let claimed: i64 = work_item::table
        .filter(work_item::machine_id.eq(id))
        .count()
        .get_result(conn)
        .await?;
    if claimed > 0 {
        return Err(Error::MachineHasWork(id));
    }
    macro_rules! delete_tags {
        ($($table:ident),*) => {
            $(diesel::delete($table::table.filter($table::machine_id.eq(id))).execute(conn).await?;)*
        };
    }
    delete_tags!(
        machine_hold,
        machine_os_installation_report,
        machine_os_installation_request,
        machine_hardware_report,
        machine_agent_heartbeat,
        machine_agent_started,
        machine_provided
    );
    diesel::delete(machines::table.find(id))
        .execute(conn)
        .await?;
    Ok(())
}
