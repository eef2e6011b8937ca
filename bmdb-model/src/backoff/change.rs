//! Changing backoffs by hand.

use crate::schema::work_item;
use crate::statement::statement;
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What a backoff that is to be changed was.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = work_item, check_for_backend(diesel::pg::Pg))]
pub struct LockedBackoff {
    /// Who is at work on it now, and decides with its end.
    #[diesel(column_name = session_id)]
    pub session: Option<SessionId>,
    /// Under this fence.
    pub fence: Fence,
    /// When the backoff ends, or ended; `None` where there is none.
    #[diesel(column_name = backoff_until)]
    pub until: Option<DateTime<Utc>>,
    /// How many times in a row the process has failed.
    pub failures: i64,
    /// How many times in a row it was lost.
    pub losses: i64,
    /// Why it failed last.
    pub cause: Option<String>,
    /// The interval the next one grows from, in seconds.
    pub last_interval_seconds: Option<i64>,
}

/// Locks an item for a change of its backoff, waiting for whoever has it locked; `None` without an item.
///
/// # Errors
/// [`Error::Database`].
pub async fn lock(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
) -> Result<Option<LockedBackoff>, Error> {
    Ok(work_item::table
        .filter(work_item::machine_id.eq(machine))
        .filter(work_item::process.eq(process))
        .select(LockedBackoff::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?)
}

statement! {
    /// As a finish does it: the item of a process without a workflow carries nothing any more then.
    Clear<'a> = "WITH kept AS ( \
             SELECT EXISTS (SELECT FROM process_def WHERE process = $2 AND workflow IS NOT NULL) AS kept \
             FROM (SELECT $1::uuid) m \
         ), cleared AS ( \
             UPDATE work_item i \
             SET backoff_until = NULL, last_interval_seconds = NULL, failures = 0, losses = 0, cause = NULL \
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

/// Deletes the backoff of an item that nobody holds, with its counts of failures and losses: the next
/// failure begins the sequence anew. Whether there was such an item.
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

/// Ends the backoff of an item that nobody holds now; the next failure goes on with the sequence. Whether
/// there was one in force.
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
