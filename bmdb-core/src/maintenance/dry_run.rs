//! What a turn of the janitor would do now.

use crate::db::deadline::Patience;
use crate::db::pool::Pool;
use crate::error::TxError;
use crate::maintenance::batch::{MACHINES, ROWS, Upkeep};
use crate::maintenance::reclaim::delay;
use bmdb_backoff::Seconds;
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::{self, attempt_counts, connection, history, reclaim, session};
use bmdb_model::maintenance::{self, MaintenanceTask, Task};
use bmdb_model::reclaim::LostItem;
use bmdb_model::session::SessionRow;
use bmdb_model::{SessionId, machine};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;

/// What a turn of the janitor would do now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DryRun {
    /// When this was, by the database's clock.
    pub at: DateTime<Utc>,
    /// The sessions that have expired, the one that expired first first. One whose transaction is
    /// under way is spared until that has ended.
    pub sessions: Vec<SessionRow>,
    /// The work that they hold, by machine and process.
    pub works: Vec<ExpiredWork>,
    /// The upkeep, as far as this component does it, the one that is due first first.
    pub upkeep: Vec<NextBatch>,
    /// How many rows of history are not to be kept, in all of it; `None` where this component trims
    /// none.
    pub surplus: Option<u64>,
}

/// Work that a session holds which has expired.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpiredWork {
    /// What is held, and by whom.
    pub item: LostItem,
    /// How long the machine would rest.
    pub delay: Seconds,
}

/// The next chunk of a task of upkeep.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NextBatch {
    /// The task, and how far it has come.
    pub row: MaintenanceTask,
    /// Whether a turn would take it now.
    pub is_due: bool,
    /// How many machines it would plan, or rows it would delete.
    pub size: u64,
}

/// Reads it in a transaction that cannot write, and locks nothing. Not SERIALIZABLE: what such a one
/// reads counts against those that write.
pub(crate) async fn preview(pool: &Pool, upkeep: &Upkeep) -> Result<DryRun, TxError> {
    let patience = Patience::of_server(pool);
    let mut conn = patience.checkout(pool).await?;
    let read = async {
        connection::begin(&mut conn, Isolation::ReadCommitted, Access::ReadOnly).await?;
        let read = read(&mut conn, upkeep).await;
        // It has written nothing, so there is nothing to commit either.
        connection::roll_back(&mut conn).await?;
        read
    };
    let read = patience.answer(read).await?;
    conn.give_back();
    Ok(read)
}

async fn read(conn: &mut AsyncPgConnection, upkeep: &Upkeep) -> Result<DryRun, bmdb_model::Error> {
    let (at, sessions) = session::expired(conn).await?;
    let ids: Vec<SessionId> = sessions.iter().map(|session| session.id).collect();
    let works = reclaim::items(conn, &ids).await?;
    let due = internal::maintenance::pending(conn, upkeep.tasks())
        .await?
        .due;
    let mut chunks = Vec::new();
    for row in maintenance::of(conn, upkeep.tasks()).await? {
        let size = size(conn, upkeep, &row).await?;
        let is_due = due.contains(&row.task);
        chunks.push(NextBatch { row, is_due, size });
    }
    let surplus = match upkeep.retention {
        Some(retention) => Some(history::surplus(conn, retention, None, None).await?),
        None => None,
    };
    Ok(DryRun {
        at,
        sessions,
        works: works
            .into_iter()
            .map(|item| (delay(&item), item))
            .map(|(delay, item)| ExpiredWork { item, delay })
            .collect(),
        upkeep: chunks,
        surplus,
    })
}

/// How much there is to do in the next chunk.
async fn size(
    conn: &mut AsyncPgConnection,
    upkeep: &Upkeep,
    row: &MaintenanceTask,
) -> Result<u64, bmdb_model::Error> {
    let after = row.progress.after_machine;
    match (row.task, upkeep.retention) {
        (Task::Plan, _) => {
            let machines = machine::page(conn, after, MACHINES).await?;
            Ok(u64::try_from(machines.len()).unwrap_or(u64::MAX))
        }
        (Task::TrimHistory, Some(retention)) => {
            history::surplus(conn, retention, after, Some(ROWS)).await
        }
        (Task::TrimHistory, None) => Ok(0),
        (Task::TrimAttemptCounts, _) => attempt_counts::surplus(conn, ROWS).await,
    }
}
