//! Machines: creating, touching, locking and deleting them.

use crate::schema::{
    machine_agent_heartbeat, machine_agent_started, machine_hardware_report, machine_hold,
    machine_os_installation_report, machine_os_installation_request, machine_provided, machines,
    work_item,
};
use crate::{Error, IdPrefix, MachineId, internal};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A row of `machines`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = machines, check_for_backend(diesel::pg::Pg))]
pub struct Machine {
    /// The machine.
    #[diesel(column_name = machine_id)]
    pub id: MachineId,
    /// When it was made known.
    #[diesel(column_name = machine_created_at)]
    pub created_at: DateTime<Utc>,
    /// How many times its tags were written.
    #[diesel(column_name = machine_version)]
    pub version: i64,
}

/// Creates machines under the given ids.
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

/// The machine, if it exists.
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

/// Locks the machines in id order and bumps their versions, before a write of their tags.
///
/// Two writers of different tags would otherwise plan from each other's past.
///
/// # Errors
/// [`Error::NoSuchMachine`], [`Error::Database`].
pub async fn touch(conn: &mut AsyncPgConnection, ids: &[MachineId]) -> Result<(), Error> {
    internal::machine::touch_pipelined(conn, ids).await
}

/// Up to `limit` machines after `after`, in id order.
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

/// The first `limit` machines whose id begins so, in id order.
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

/// Deletes a machine with its tags and idle work items. Its history stays.
///
/// # Errors
/// [`Error::NoSuchMachine`]; [`Error::MachineHasWork`]; [`Error::Database`], also when a table of
/// a downstream user still refers to the machine.
pub async fn delete(conn: &mut AsyncPgConnection, id: MachineId) -> Result<(), Error> {
    touch(conn, &[id]).await?;
    // Only idle items go; a held one, or one claimed meanwhile, keeps the machine by its foreign key.
    let idle = work_item::machine_id
        .eq(id)
        .and(work_item::session_id.is_null());
    diesel::delete(work_item::table.filter(idle))
        .execute(conn)
        .await?;
    let held: i64 = work_item::table
        .filter(work_item::machine_id.eq(id))
        .count()
        .get_result(conn)
        .await?;
    if held > 0 {
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
