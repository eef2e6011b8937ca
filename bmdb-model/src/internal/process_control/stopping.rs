//! Attempts that a pause asks to stop.

use crate::statement::statement;
use crate::{Error, Fence, MachineId, Process, Provider, SessionId};
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    Stopping<'a> = "SELECT i.fence, p.paused_by || ' has paused ' || p.process || ': ' || p.reason \
                    FROM process_pause p \
                    JOIN work_item i ON i.process = p.process \
                    LEFT JOIN machine_provided m ON m.machine_id = i.machine_id \
                    WHERE p.process = $1 AND p.stop_running AND p.until > clock_timestamp() \
                      AND i.session_id = $2 AND p.provider IN ('', coalesce(i.provider, m.provider, ''))";
    (process: &'a Process => Text, session: SessionId => SqlUuid) -> (BigInt, Text)
}

/// The attempts of a session on a process that a pause asks to stop, by their fences, each with why. Costs a
/// look at a small table while there is no such pause.
///
/// # Errors
/// [`Error::Database`].
pub async fn stopping(
    conn: &mut AsyncPgConnection,
    process: &Process,
    session: SessionId,
) -> Result<Vec<(Fence, String)>, Error> {
    Ok(Stopping { process, session }.load(conn).await?)
}

statement! {
    RunningAttempts<'a> = "SELECT i.machine_id, i.session_id, i.fence \
                          FROM work_item i LEFT JOIN machine_provided m ON m.machine_id = i.machine_id \
                          WHERE i.session_id IS NOT NULL AND i.process = $1 \
                            AND ($2::text IS NULL OR coalesce(i.provider, m.provider) = $2) \
                          ORDER BY i.machine_id";
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>)
    -> (SqlUuid, SqlUuid, BigInt)
}

/// The attempts on a process that run now, on all machines or on those of a provider.
///
/// # Errors
/// [`Error::Database`].
pub async fn running_attempts(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: Option<&Provider>,
) -> Result<Vec<(MachineId, SessionId, Fence)>, Error> {
    Ok(RunningAttempts { process, provider }.load(conn).await?)
}
