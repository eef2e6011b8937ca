//! Upkeep: what janitors do slowly, in chunks, once for the database and not once for each of them.

use crate::schema::upkeep;
use crate::text_enum::text_enum;
use crate::{Error, MachineId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

text_enum! {
    /// What is done slowly and over and over.
    Task {
        /// Planning every machine anew.
        Plan,
        /// Deleting the history that is not to be kept.
        TrimHistory,
        /// Adding up the tally of attempts, and deleting the part of it that is not to be kept.
        TrimAttemptCounts = "TrimTally",
    }
}

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Queryable, Selectable)]
#[diesel(table_name = upkeep, check_for_backend(diesel::pg::Pg))]
pub struct TaskProgress {
    /// The last machine of the last chunk; `None` where the next chunk begins a pass.
    pub after_machine: Option<MachineId>,
    /// How many chunks this pass has taken so far.
    pub chunks: i64,
    /// How many the last whole pass took.
    pub last_chunks: Option<i64>,
}

/// A row of `upkeep`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = upkeep, check_for_backend(diesel::pg::Pg))]
pub struct MaintenanceTask {
    /// The task.
    pub task: Task,
    /// When its next chunk may be taken.
    pub due_at: DateTime<Utc>,
    /// How far it has come.
    #[diesel(embed)]
    pub progress: TaskProgress,
    /// What went wrong with the last chunk.
    pub failure: Option<String>,
}

/// The rows of these tasks, the one that is due first first.
///
/// # Errors
/// [`Error::Database`].
pub async fn of(
    conn: &mut AsyncPgConnection,
    tasks: &[Task],
) -> Result<Vec<MaintenanceTask>, Error> {
    Ok(upkeep::table
        .filter(upkeep::task.eq_any(tasks))
        .select(MaintenanceTask::as_select())
        .order((upkeep::due_at, upkeep::task))
        .load(conn)
        .await?)
}
