//! Holds: of a machine, by the tag `machine_hold`, while which nothing new starts there; and of one process
//! on a machine, in its work item.

use crate::column::Column;
use crate::schema::machine_hold;
use crate::statement::statement;
use crate::time::{Stored, Timestamptz};
use crate::{Error, MachineId, Process};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::result::DatabaseErrorKind;
use diesel::result::Error::DatabaseError;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
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
    #[diesel(deserialize_as = Stored)]
    pub since: DateTime<Utc>,
}

statement! {
    /// The foreign key would abort the transaction.
    Set<'a> = "INSERT INTO machine_hold (machine_id, reason) \
               SELECT m.machine_id, r.reason FROM (SELECT $1::uuid AS id, $2::text AS reason) r \
               JOIN machines m ON m.machine_id = r.id \
               ON CONFLICT (machine_id) DO UPDATE SET reason = excluded.reason";
    (machine: MachineId => SqlUuid, reason: &'a str => Text) -> ()
}

/// Puts a machine on hold, or changes the reason of its hold. This needs no lock of the machine, because
/// claims look at the hold itself; plan the machine afterwards, so that lists show it.
///
/// # Errors
/// [`Error::Empty`], [`Error::TooLong`], [`Error::NulByte`], [`Error::NoSuchMachine`], [`Error::Database`].
pub async fn set(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    reason: &str,
) -> Result<(), Error> {
    Column::REASON.check_non_empty(reason)?;
    match (Set { machine, reason }).execute(conn).await {
        Ok(0) => Err(Error::NoSuchMachine(machine)),
        Ok(_) => Ok(()),
        // It was deleted meanwhile.
        Err(DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)) => {
            Err(Error::NoSuchMachine(machine))
        }
        Err(error) => Err(error.into()),
    }
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

statement! {
    HoldProcess<'a> = include_str!("sql/hold_process.sql");
    (machine: MachineId => SqlUuid, process: &'a Process => Text, reason: &'a str => Text) -> ()
}

/// Puts one process on hold on a machine, or changes the reason of that hold: it does not start there, and
/// others do. Claimed work continues. The caller has touched the machine, and plans it later.
///
/// # Errors
/// [`Error::Empty`], [`Error::TooLong`], [`Error::NulByte`], [`Error::Database`].
pub async fn set_process(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
    reason: &str,
) -> Result<(), Error> {
    Column::REASON.check_non_empty(reason)?;
    let hold = HoldProcess {
        machine,
        process,
        reason,
    };
    hold.execute(conn).await?;
    Ok(())
}

statement! {
    ReleaseProcess<'a> = include_str!("sql/release_process.sql");
    (machine: MachineId => SqlUuid, process: &'a Process => Text) -> BigInt
}

/// Releases one process on a machine; returns whether it was on hold there. The caller has touched the
/// machine, and plans it later.
///
/// # Errors
/// [`Error::Database`].
pub async fn unset_process(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
) -> Result<bool, Error> {
    let released: i64 = ReleaseProcess { machine, process }.get_result(conn).await?;
    Ok(released == 1)
}

statement! {
    ProcessHold<'a> = "SELECT hold_reason, hold_since FROM work_item \
         WHERE machine_id = $1 AND process = $2 AND hold_reason IS NOT NULL";
    (machine: MachineId => SqlUuid, process: &'a Process => Text) -> (Text, Timestamptz)
}

/// Returns the hold of one process on a machine. That of the machine as a whole is another one: see [`of`].
///
/// # Errors
/// [`Error::Database`].
pub async fn of_process(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
) -> Result<Option<Hold>, Error> {
    let hold = ProcessHold { machine, process };
    Ok(hold.get_result(conn).await.optional()?)
}
