//! Maintenance: what janitors do in the background, in small batches, once per database and not once
//! per janitor.

use crate::schema::upkeep;
use crate::text_enum::text_enum;
use crate::time::Stored;
use crate::{Error, MachineId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

text_enum! {
    /// A maintenance task.
    Task {
        /// Replanning every machine.
        Plan,
        /// Deleting history beyond its retention.
        TrimHistory,
        /// Merging and deleting attempt counts.
        TrimAttemptCounts = "TrimTally",
    }
}

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Queryable, Selectable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = upkeep, check_for_backend(diesel::pg::Pg))]
#[non_exhaustive]
pub struct TaskProgress {
    /// The last machine of the last batch; `None` if the next batch begins a pass.
    pub after_machine: Option<MachineId>,
    /// How many batches this pass has taken so far.
    pub chunks: i64,
    /// How many batches the last complete pass took.
    pub last_chunks: Option<i64>,
}

impl TaskProgress {
    /// The progress after another batch of this pass, which ended with `machine`.
    #[must_use]
    pub fn after_batch(self, machine: Option<MachineId>) -> Self {
        Self {
            after_machine: machine,
            chunks: self.chunks.saturating_add(1),
            last_chunks: self.last_chunks,
        }
    }

    /// The progress after the last batch of this pass.
    #[must_use]
    pub fn after_pass(self) -> Self {
        Self {
            after_machine: None,
            chunks: 0,
            last_chunks: Some(self.chunks.saturating_add(1)),
        }
    }
}

/// A row of `upkeep`: a task and its progress.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = upkeep, check_for_backend(diesel::pg::Pg))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct MaintenanceTask {
    pub task: Task,
    /// When its next batch may begin.
    #[diesel(deserialize_as = Stored)]
    pub due_at: DateTime<Utc>,
    #[diesel(embed)]
    pub progress: TaskProgress,
    /// Why the last batch failed.
    pub failure: Option<String>,
}

/// Lists these tasks, the one that is due first at the top.
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
