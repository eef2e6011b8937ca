//! Reads the log: all ended attempts and all claimed work items, in the snapshot of one statement.

use crate::TestkitError;
use crate::connect::connect;
use bmdb_backoff::Seconds;
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, Lane, MachineId, Process, SessionId};
use tokio_postgres::Row;

/// An attempt. Times are microseconds since the epoch, the resolution of the database's clock.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) machine: MachineId,
    pub(super) process: Process,
    pub(super) lane: Lane,
    pub(super) fence: Fence,
    pub(super) session: SessionId,
    pub(super) started: i64,
    pub(super) end: Option<End>,
    pub(super) folded: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) at: i64,
    pub(super) outcome: Outcome,
    pub(super) interval: Option<Seconds>,
}

const LOG: &str = "
    SELECT machine_id::text, process, coalesce(lane, process), fence, session_id::text,
           (extract(epoch FROM started_at) * 1000000)::bigint,
           (extract(epoch FROM ended_at) * 1000000)::bigint,
           outcome, interval_seconds, repeats > 0
    FROM (
        SELECT machine_id, process, fence, session_id, started_at, ended_at, outcome,
               interval_seconds, repeats
        FROM work_attempt
        UNION ALL
        SELECT machine_id, process, fence, session_id, started_at, NULL, NULL, NULL, 0
        FROM work_item WHERE session_id IS NOT NULL
    ) attempt
    LEFT JOIN process_def USING (process)";

pub(super) async fn attempts(url: &str) -> Result<Vec<Attempt>, TestkitError> {
    let client = connect(&url.parse()?).await?;
    let rows = client.query(LOG, &[]).await?;
    rows.iter().map(attempt).collect()
}

fn attempt(row: &Row) -> Result<Attempt, TestkitError> {
    Ok(Attempt {
        machine: row.get::<_, &str>(0).parse().map_err(unreadable)?,
        process: row.get::<_, &str>(1).parse().map_err(unreadable)?,
        lane: row.get::<_, &str>(2).parse().map_err(unreadable)?,
        fence: Fence::new(row.get(3)),
        session: row.get::<_, &str>(4).parse().map_err(unreadable)?,
        started: row.get(5),
        end: match row.get::<_, Option<i64>>(6) {
            Some(at) => Some(End {
                at,
                outcome: row.get::<_, &str>(7).parse().map_err(unreadable)?,
                interval: row.get::<_, Option<i64>>(8).map(Seconds::from_db),
            }),
            None => None,
        },
        folded: row.get(9),
    })
}

fn unreadable(why: impl ToString) -> TestkitError {
    TestkitError::boot("reading work_attempt", why)
}
