//! Dry run: the changes that a turn of the janitor would make now.

use crate::error::TxError;
use crate::maintenance::batch::{MACHINES, Maintenance, ROWS};
use crate::maintenance::reclaim::delay;
use bmdb_backoff::Seconds;
use bmdb_model::connection::Isolation;
use bmdb_model::internal;
use bmdb_model::maintenance::{self, MaintenanceTask, Task};
use bmdb_model::reclaim::LostItem;
use bmdb_model::session::SessionRow;
use bmdb_model::{SessionId, machine};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;

/// The changes that a turn of the janitor would make now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DryRun {
    /// The time of the dry run, by the database's clock.
    pub at: DateTime<Utc>,
    /// The expired sessions, by the time of expiry. A session whose transaction is under way is spared until
    /// the transaction has ended.
    pub sessions: Vec<SessionRow>,
    /// Their work, by machine and process.
    pub expired: Vec<ExpiredWork>,
    /// The next batch of each maintenance task of this component, by the time when it is due.
    pub batches: Vec<NextBatch>,
    /// How many rows of the history are beyond the retention; `None` if this component trims none.
    pub surplus: Option<u64>,
}

/// Work of an expired session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpiredWork {
    /// The work item and its session.
    pub item: LostItem,
    /// How long the machine would back off.
    pub delay: Seconds,
}

/// The next batch of a maintenance task.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NextBatch {
    /// The task and its progress.
    pub row: MaintenanceTask,
    /// Whether a turn would do the batch now.
    pub is_due: bool,
    /// How many machines it would plan, or rows it would delete.
    pub size: u64,
}

/// Reads in a transaction that cannot write, and locks nothing. Not SERIALIZABLE: the reads of a serializable
/// transaction can make writers fail.
pub(crate) async fn dry_run(maintenance: &Maintenance) -> Result<DryRun, TxError> {
    let read = async |conn: &mut AsyncPgConnection| Ok(read(conn, maintenance).await?);
    let database = &maintenance.database;
    database.read(Isolation::ReadCommitted, &read).await
}

async fn read(
    conn: &mut AsyncPgConnection,
    settings: &Maintenance,
) -> Result<DryRun, bmdb_model::Error> {
    let (at, sessions) = internal::session::expired(conn).await?;
    let ids: Vec<SessionId> = sessions.iter().map(|session| session.id).collect();
    let items = internal::reclaim::items(conn, &ids).await?;
    let due = internal::maintenance::pending(conn, settings.tasks())
        .await?
        .due;
    let mut batches = Vec::new();
    for row in maintenance::of(conn, settings.tasks()).await? {
        let size = size(conn, settings, &row).await?;
        let is_due = due.contains(&row.task);
        batches.push(NextBatch { row, is_due, size });
    }
    let surplus = match settings.retention {
        Some(retention) => Some(internal::history::surplus(conn, retention, None, None).await?),
        None => None,
    };
    Ok(DryRun {
        at,
        sessions,
        expired: items
            .into_iter()
            .map(|item| (delay(&item), item))
            .map(|(delay, item)| ExpiredWork { item, delay })
            .collect(),
        batches,
        surplus,
    })
}

/// The size of a task's next batch.
async fn size(
    conn: &mut AsyncPgConnection,
    settings: &Maintenance,
    row: &MaintenanceTask,
) -> Result<u64, bmdb_model::Error> {
    let after = row.progress.after_machine;
    match (row.task, settings.retention) {
        (Task::Plan, _) => {
            let machines = machine::page(conn, after, MACHINES).await?;
            Ok(u64::try_from(machines.len()).unwrap_or(u64::MAX))
        }
        (Task::TrimHistory, Some(retention)) => {
            internal::history::surplus(conn, retention, after, Some(ROWS)).await
        }
        (Task::TrimHistory, None) => Ok(0),
        (Task::TrimAttemptCounts, _) => internal::attempt_counts::surplus(conn, ROWS).await,
    }
}
