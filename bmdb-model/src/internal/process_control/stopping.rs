//! Attempts that a pause asks to stop.

use crate::statement::statement;
use crate::{Error, Fence, Process, SessionId};
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
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
