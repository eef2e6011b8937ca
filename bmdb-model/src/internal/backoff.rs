//! Changing backoffs by hand.

use crate::backoff::LockedBackoff;
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, MachineId, Process};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    Lock<'a> = "SELECT session_id, fence, backoff_until, failures, losses, cause, last_interval_seconds \
         FROM work_item WHERE machine_id = $1 AND process = $2 FOR NO KEY UPDATE";
    (machine: MachineId => SqlUuid, process: &'a Process => Text)
    -> (Nullable<SqlUuid>, BigInt, Nullable<Timestamptz>, BigInt, BigInt, Nullable<Text>, Nullable<BigInt>)
}

/// Locks an item before its backoff is changed, and waits for other locks on it. `None` if there is no
/// item.
///
/// # Errors
/// [`Error::Database`].
pub async fn lock(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
) -> Result<Option<LockedBackoff>, Error> {
    let locked: Option<LockedBackoff> = Lock { machine, process }
        .get_result(conn)
        .await
        .optional()?;
    Ok(locked)
}

statement! {
    /// Like a finish: the item of a process without a workflow is deleted, unless it is on hold, because it
    /// carries no information then.
    Clear<'a> = "WITH kept AS ( \
             SELECT EXISTS (SELECT FROM work_item WHERE machine_id = $1 AND process = $2 \
                              AND hold_reason IS NOT NULL) \
                    OR EXISTS (SELECT FROM process_def WHERE process = $2 AND workflow IS NOT NULL) AS kept \
         ), cleared AS ( \
             UPDATE work_item i \
             SET backoff_until = NULL, last_interval_seconds = NULL, failures = 0, losses = 0, cause = NULL, \
                 unproductive = 0, flapping = 0 \
             FROM kept k WHERE k.kept AND i.machine_id = $1 AND i.process = $2 AND i.session_id IS NULL \
             RETURNING 1 \
         ), gone AS ( \
             DELETE FROM work_item i USING kept k \
             WHERE NOT k.kept AND i.machine_id = $1 AND i.process = $2 AND i.session_id IS NULL \
             RETURNING 1 \
         ) \
         SELECT (SELECT count(*) FROM cleared) + (SELECT count(*) FROM gone)";
    (machine: MachineId => SqlUuid, process: &'a Process => Text) -> BigInt
}

/// Deletes the backoff or rest of an unclaimed item, and its counts of failures, losses and finishes without
/// effect: the next failure starts the sequence again. Returns whether there was such an item.
///
/// # Errors
/// [`Error::Database`].
pub async fn clear(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
) -> Result<bool, Error> {
    let changed: i64 = Clear { machine, process }.get_result(conn).await?;
    Ok(changed == 1)
}

statement! {
    EndNow<'a> = "UPDATE work_item SET backoff_until = clock_timestamp() \
         WHERE machine_id = $1 AND process = $2 AND session_id IS NULL \
           AND backoff_until > clock_timestamp() \
         RETURNING 1";
    (machine: MachineId => SqlUuid, process: &'a Process => Text) -> diesel::sql_types::Integer
}

/// Ends the backoff of an unclaimed item now; the next failure continues the sequence. Returns whether
/// a backoff was in force.
///
/// # Errors
/// [`Error::Database`].
pub async fn end_now(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
) -> Result<bool, Error> {
    let ended: Option<i32> = EndNow { machine, process }
        .get_result(conn)
        .await
        .optional()?;
    Ok(ended.is_some())
}
