//! The tag `machine_hold`: while it is set, nothing new starts on the machine.

use crate::error::storable_non_empty;
use crate::schema::machine_hold;
use crate::{Error, MachineId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Why and since when a machine is on hold.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = machine_hold, check_for_backend(diesel::pg::Pg))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Hold {
    /// The reason, for people.
    pub reason: String,
    pub since: DateTime<Utc>,
}

/// Puts a machine on hold, or changes the reason of its hold. The caller has touched the machine.
///
/// # Errors
/// [`Error::NulByte`], [`Error::Empty`], [`Error::Database`].
pub async fn set(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    reason: &str,
) -> Result<(), Error> {
    storable_non_empty("reason", reason)?;
    diesel::insert_into(machine_hold::table)
        .values((
            machine_hold::machine_id.eq(machine),
            machine_hold::reason.eq(reason),
        ))
        .on_conflict(machine_hold::machine_id)
        .do_update()
        .set(machine_hold::reason.eq(reason))
        .execute(conn)
        .await?;
    Ok(())
}

/// Releases a machine; returns whether it was on hold. The caller has touched the machine.
///
/// # Errors
/// [`Error::Database`].
pub async fn unset(conn: &mut AsyncPgConnection, machine: MachineId) -> Result<bool, Error> {
    Ok(diesel::delete(machine_hold::table.find(machine))
        .execute(conn)
        .await?
        == 1)
}

/// Returns the machine's hold.
///
/// # Errors
/// [`Error::Database`].
pub async fn of(conn: &mut AsyncPgConnection, machine: MachineId) -> Result<Option<Hold>, Error> {
    Ok(machine_hold::table
        .find(machine)
        .select(Hold::as_select())
        .first(conn)
        .await
        .optional()?)
}
