//! Holds: of a machine, by the tag `machine_hold`, while which nothing new starts there; and of one process
//! on a machine, in its work item.

use crate::column::Column;
use crate::rows::{self, Rows};
use crate::schema::machine_hold;
use crate::statement::statement;
use crate::time::{Stored, Timestamptz};
use crate::{Error, MachineId, Process};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::result::Error::DatabaseError;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
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
    SetAll<'a> = include_str!("sql/hold_machines.sql");
    (machines: &'a [MachineId] => Array<SqlUuid>, reasons: &'a [&'a str] => Array<Text>) -> SqlUuid
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
    check(reason)?;
    set_pipelined(conn, &Rows::from([(machine, reason)])).await
}

/// Like [`set`] for many machines, in one statement; for more than 32 MiB of reasons, in several. If a
/// machine is named twice, the last entry counts.
///
/// # Errors
/// [`Error::OfMachine`] with [`Error::Empty`], [`Error::TooLong`] or [`Error::NulByte`], and then nothing
/// was written; [`Error::NoSuchMachine`] for the first machine that does not exist, and then the others
/// are on hold; [`Error::Database`].
pub async fn set_all<R: AsRef<str>>(
    conn: &mut AsyncPgConnection,
    reasons: &[(MachineId, R)],
) -> Result<(), Error> {
    let reasons = checked(reasons)?;
    set_pipelined(conn, &reasons).await
}

fn check(reason: &str) -> Result<(), Error> {
    Column::REASON.check_non_empty(reason)
}

fn checked<R: AsRef<str>>(reasons: &[(MachineId, R)]) -> Result<Rows<'_, str>, Error> {
    let reasons: Rows<'_, str> = reasons
        .iter()
        .map(|(machine, reason)| (*machine, reason.as_ref()))
        .collect();
    rows::check(&reasons, check)?;
    Ok(reasons)
}

async fn set_pipelined(conn: &AsyncPgConnection, reasons: &Rows<'_, str>) -> Result<(), Error> {
    let batches = rows::batches(reasons, str::len).into_iter();
    let statements = batches.map(|batch| async move {
        let set = SetAll {
            machines: &batch.machines,
            reasons: &batch.values,
        };
        let existing: QueryResult<Vec<MachineId>> = set.load(&mut &*conn).await;
        let existing = existing.map_err(|error| deleted_meanwhile(error, &batch.machines))?;
        rows::all_of(&batch.machines, existing)
    });
    rows::pipelined(statements).await
}

/// The error of a foreign key names the machine that was deleted while it was put on hold.
fn deleted_meanwhile(error: DieselError, machines: &[MachineId]) -> Error {
    let DatabaseError(DatabaseErrorKind::ForeignKeyViolation, report) = &error else {
        return error.into();
    };
    let details = report.details().unwrap_or_default();
    let deleted = match machines {
        [only] => Some(only),
        all => all.iter().find(|id| details.contains(&id.to_string())),
    };
    match deleted {
        Some(machine) => Error::NoSuchMachine(*machine),
        None => error.into(),
    }
}

/// Releases a machine; returns whether it was on hold. The caller has touched the machine.
///
/// # Errors
/// [`Error::Database`].
pub async fn unset(conn: &mut AsyncPgConnection, machine: MachineId) -> Result<bool, Error> {
    Ok(!unset_all(conn, &[machine]).await?.is_empty())
}

statement! {
    UnsetAll<'a> = include_str!("sql/release_machines.sql");
    (machines: &'a [MachineId] => Array<SqlUuid>) -> SqlUuid
}

/// Releases many machines in one statement; returns those that were on hold, in id order. The caller has
/// touched all of them.
///
/// # Errors
/// [`Error::Database`].
pub async fn unset_all(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
) -> Result<Vec<MachineId>, Error> {
    let mut released: Vec<MachineId> = UnsetAll { machines }.load(conn).await?;
    released.sort_unstable();
    Ok(released)
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
    (
        process: &'a Process => Text,
        machines: &'a [MachineId] => Array<SqlUuid>,
        reasons: &'a [&'a str] => Array<Text>,
    ) -> ()
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
    check(reason)?;
    set_process_pipelined(conn, process, &Rows::from([(machine, reason)])).await
}

/// Like [`set_process`] for many machines, in one statement; for more than 32 MiB of reasons, in several. If
/// a machine is named twice, the last entry counts. The caller has touched all of them.
///
/// # Errors
/// [`Error::OfMachine`] with [`Error::Empty`], [`Error::TooLong`] or [`Error::NulByte`], and then nothing
/// was written; [`Error::Database`].
pub async fn set_process_on_all<R: AsRef<str>>(
    conn: &mut AsyncPgConnection,
    process: &Process,
    reasons: &[(MachineId, R)],
) -> Result<(), Error> {
    let reasons = checked(reasons)?;
    set_process_pipelined(conn, process, &reasons).await
}

async fn set_process_pipelined(
    conn: &AsyncPgConnection,
    process: &Process,
    reasons: &Rows<'_, str>,
) -> Result<(), Error> {
    let batches = rows::batches(reasons, str::len).into_iter();
    let statements = batches.map(|batch| async move {
        let hold = HoldProcess {
            process,
            machines: &batch.machines,
            reasons: &batch.values,
        };
        hold.execute(&mut &*conn).await?;
        Ok(())
    });
    rows::pipelined(statements).await
}

statement! {
    ReleaseProcess<'a> = include_str!("sql/release_process.sql");
    (machines: &'a [MachineId] => Array<SqlUuid>, process: &'a Process => Text) -> SqlUuid
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
    let released = unset_process_on_all(conn, &[machine], process).await?;
    Ok(!released.is_empty())
}

/// Releases one process on many machines, in one statement; returns those where it was on hold, in id order.
/// The caller has touched all of them.
///
/// # Errors
/// [`Error::Database`].
pub async fn unset_process_on_all(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    process: &Process,
) -> Result<Vec<MachineId>, Error> {
    let mut released: Vec<MachineId> = ReleaseProcess { machines, process }.load(conn).await?;
    released.sort_unstable();
    Ok(released)
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
