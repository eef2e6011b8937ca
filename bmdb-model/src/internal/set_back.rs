//! Times in the future of a clock that was set back.
//!
//! What began in the future by the database's clock lasts longer than it should by as much as the clock was set
//! back. Here it begins now. Each statement finds nothing after it has mended everything, so repeating one does
//! no harm.

use crate::statement::statement;
use crate::{Error, MachineId};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    /// The evidence. This task is never postponed for longer than five minutes, so one that is due later was
    /// postponed by a clock that was ahead. A clock that was set back by less is left alone.
    LockEvidence = "SELECT task FROM upkeep \
                    WHERE task = 'TrimTally' AND due_at > clock_timestamp() + interval '10 minutes' \
                    FOR NO KEY UPDATE SKIP LOCKED";
    () -> Text
}

/// Locks the evidence that the clock was set back, until the end of the transaction. Returns `false` if there is
/// none, or if another janitor has locked it. Lock it before machines, items and slots.
///
/// # Errors
/// [`Error::Database`].
pub async fn lock(conn: &mut AsyncPgConnection) -> Result<bool, Error> {
    let found: Option<String> = LockEvidence {}.get_result(conn).await.optional()?;
    Ok(found.is_some())
}

statement! {
    RemoveEvidence = "UPDATE upkeep SET due_at = clock_timestamp() WHERE task = 'TrimTally'";
    () -> ()
}

/// Removes the evidence, when everything is mended.
///
/// # Errors
/// [`Error::Database`].
pub async fn mended(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    RemoveEvidence {}.execute(conn).await?;
    Ok(())
}

statement! {
    MendTasks = "UPDATE upkeep SET due_at = clock_timestamp() \
                 WHERE task IN (SELECT t.task FROM upkeep t \
                                WHERE t.task <> 'TrimTally' AND t.due_at > clock_timestamp() \
                                FOR NO KEY UPDATE SKIP LOCKED)";
    () -> ()
}

statement! {
    MendPauses = "UPDATE process_pause \
                  SET since = clock_timestamp(), until = clock_timestamp() + (until - since) \
                  WHERE source <> 'Operator' AND isfinite(until) AND isfinite(since) \
                    AND since > clock_timestamp() + interval '1 second'";
    () -> ()
}

statement! {
    /// A breaker trusts its count for a minute at most.
    MendCounts = "UPDATE process_breaker_state SET evaluate_after = clock_timestamp() \
                  WHERE evaluate_after > clock_timestamp() + interval '1 minute'";
    () -> ()
}

statement! {
    MendSlots = "UPDATE process_slot s \
                 SET taken_at = clock_timestamp(), free_at = clock_timestamp() + (s.free_at - s.taken_at) \
                 WHERE s.slot_id IN (SELECT t.slot_id FROM process_slot t \
                                     WHERE t.kind = 'Start' AND isfinite(t.free_at) AND isfinite(t.taken_at) \
                                       AND t.taken_at > clock_timestamp() + interval '1 second' \
                                     ORDER BY t.slot_id FOR NO KEY UPDATE SKIP LOCKED)";
    () -> ()
}

/// Begins pauses of breakers and attempts, windows of limits, and pauses between counts of breakers now; makes the
/// other maintenance tasks due. Pauses by operators stay as they were set: a person ends them.
///
/// # Errors
/// [`Error::Database`].
pub async fn mend_controls(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    MendTasks {}.execute(conn).await?;
    MendPauses {}.execute(conn).await?;
    MendCounts {}.execute(conn).await?;
    MendSlots {}.execute(conn).await?;
    Ok(())
}

statement! {
    MendBackoffs<'a> = concat!(
        include_str!("../sql/backoff_processes.sql"),
        include_str!("../sql/mend_backoffs.sql")
    );
    (process: Option<&'a str> => Nullable<Text>, limit: i64 => BigInt) -> ()
}

/// Begins up to `limit` backoffs and rests now; returns how many.
///
/// # Errors
/// [`Error::Database`].
pub async fn mend_backoffs(conn: &mut AsyncPgConnection, limit: i64) -> Result<usize, Error> {
    let mend = MendBackoffs {
        process: None,
        limit,
    };
    Ok(mend.execute(conn).await?)
}

statement! {
    HeardInFuture = "SELECT machine_id FROM ( \
                         SELECT machine_id FROM machine_agent_heartbeat \
                         WHERE agent_heartbeat_at > clock_timestamp() + interval '1 minute' \
                         UNION SELECT machine_id FROM machine_agent_started \
                         WHERE agent_started_at > clock_timestamp() + interval '1 minute') m \
                     WHERE machine_id > coalesce($1, '00000000-0000-0000-0000-000000000000') \
                     ORDER BY machine_id LIMIT $2";
    (after: Option<MachineId> => Nullable<SqlUuid>, limit: i64 => BigInt) -> SqlUuid
}

/// Lists up to `limit` machines after one in id order, whose agents were started or heard in the future.
///
/// # Errors
/// [`Error::Database`].
pub async fn heard_in_future(
    conn: &mut AsyncPgConnection,
    after: Option<MachineId>,
    limit: i64,
) -> Result<Vec<MachineId>, Error> {
    Ok(HeardInFuture { after, limit }.load(conn).await?)
}

statement! {
    PlannedInFuture = "SELECT DISTINCT i.machine_id FROM work_item i JOIN process_def d ON d.process = i.process \
                       WHERE i.machine_id > coalesce($1, '00000000-0000-0000-0000-000000000000') \
                         AND i.eligible AND i.session_id IS NULL AND NOT d.time_driven \
                         AND i.plan_at > clock_timestamp() + interval '1 second' AND isfinite(i.plan_at) \
                       ORDER BY i.machine_id LIMIT $2";
    (after: Option<MachineId> => Nullable<SqlUuid>, limit: i64 => BigInt) -> SqlUuid
}

/// Lists up to `limit` machines after one in id order, that are due in the future. Many of them have become due by
/// a clock that was ahead, and are due as soon as they are planned.
///
/// # Errors
/// [`Error::Database`].
pub async fn planned_in_future(
    conn: &mut AsyncPgConnection,
    after: Option<MachineId>,
    limit: i64,
) -> Result<Vec<MachineId>, Error> {
    Ok(PlannedInFuture { after, limit }.load(conn).await?)
}

statement! {
    MendHeartbeats<'a> = "UPDATE machine_agent_heartbeat SET agent_heartbeat_at = clock_timestamp() \
                          WHERE machine_id = ANY ($1) AND agent_heartbeat_at > clock_timestamp()";
    (machines: &'a [MachineId] => Array<SqlUuid>) -> ()
}

statement! {
    MendStarts<'a> = "UPDATE machine_agent_started SET agent_started_at = clock_timestamp() \
                      WHERE machine_id = ANY ($1) AND agent_started_at > clock_timestamp()";
    (machines: &'a [MachineId] => Array<SqlUuid>) -> ()
}

/// Lets agents that were started or heard in the future be started or heard now. Touch the machines before, and
/// plan them afterwards.
///
/// # Errors
/// [`Error::Database`].
pub async fn mend_agents(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
) -> Result<(), Error> {
    MendHeartbeats { machines }.execute(conn).await?;
    MendStarts { machines }.execute(conn).await?;
    Ok(())
}
