//! Maintenance batches: bounded transactions, each done by whichever janitor comes first.

use crate::db::config::Config;
use crate::db::database::Database;
use crate::error::TxError;
use crate::maintenance::overlong::OverlongLeases;
use bmdb_model::MachineId;
use bmdb_model::column::Column;
use bmdb_model::history::Retention;
use bmdb_model::internal;
use bmdb_model::internal::notify::Notify;
use bmdb_model::maintenance::{Task, TaskProgress};
use bmdb_model::plan::BrokenWorkflow;
use diesel_async::AsyncPgConnection;
use std::time::Duration;

/// How many machines one transaction plans.
pub(crate) const MACHINES: i64 = 500;

/// How many rows of history one transaction reads, and deletes at most. One transaction reads
/// all rows of a machine.
pub(crate) const ROWS: u32 = 5000;

/// How long a pass over the history takes.
const TRIM_PERIOD: Duration = Duration::from_secs(86_400);

/// The pause between two batches of summing up attempt counts, while attempts are counted.
const COUNTS_PAUSE: Duration = Duration::from_secs(60);

/// The same pause while none are counted.
const COUNTS_IDLE_PAUSE: Duration = Duration::from_secs(300);

/// The shortest pause between two batches: even for the largest fleet and the longest history, maintenance
/// must stay a small part of the database's load.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The pause after a batch that failed as a whole.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60);

/// The assumed number of batches in a pass before the first pass: as for a million machines.
const UNKNOWN: u32 = 2000;

/// A maintenance batch that was due and is done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MaintenanceBatch {
    /// Machines were replanned.
    Planned {
        /// How many.
        machines: usize,
        /// Workflows that failed, each with one machine for which it did. The items of these machines stay
        /// as they were.
        broken: Vec<BrokenWorkflow>,
    },
    /// History that is not to be kept was deleted.
    Trimmed {
        /// How many rows.
        rows: u64,
    },
    /// The attempt counts of past minutes were summed up, and old ones deleted.
    AttemptCountsTrimmed {
        /// By how many rows they shrank.
        rows: u64,
    },
}

/// The maintenance of a component: its tasks and their settings.
pub(crate) struct Maintenance {
    pub(crate) database: Database,
    pub(crate) replan_period: Option<Duration>,
    pub(crate) retention: Option<Retention>,
    pub(crate) overlong_leases: OverlongLeases,
    tasks: Vec<Task>,
}

impl Maintenance {
    pub(crate) fn new(config: &Config, database: Database) -> Self {
        let tasks = [
            config.replan_period.map(|_| Task::Plan),
            config.retention.map(|_| Task::TrimHistory),
            config
                .attempt_counts_interval
                .map(|_| Task::TrimAttemptCounts),
        ];
        Self {
            database,
            replan_period: config.replan_period,
            retention: config.retention,
            overlong_leases: OverlongLeases::default(),
            tasks: tasks.into_iter().flatten().collect(),
        }
    }

    /// The tasks of this component.
    pub(crate) fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Does a batch and logs its result. A batch that failed is postponed, so that the janitors do not retry
    /// it in every turn.
    pub(crate) async fn do_and_log(&self, task: Task) {
        match self.batch(task).await {
            Ok(None) => {}
            Ok(Some(MaintenanceBatch::Trimmed { rows })) => {
                tracing::debug!(rows, "trimmed a batch of history");
            }
            Ok(Some(MaintenanceBatch::AttemptCountsTrimmed { rows })) => {
                tracing::debug!(rows, "trimmed the attempt counts");
            }
            Ok(Some(MaintenanceBatch::Planned { machines, broken })) => {
                tracing::debug!(machines, "replanned a batch of the fleet");
                for broken in broken {
                    tracing::warn!(process = %broken.process, machine = %broken.machine, "{broken}");
                }
            }
            Err(error) => {
                tracing::warn!(%task, %error, "a maintenance batch failed");
                if let Err(error) = self.postpone(task, &error).await {
                    tracing::debug!(%task, %error, "the failed batch could not be postponed");
                }
            }
        }
    }

    /// Does one batch of the task, if it is due and no other janitor is doing it.
    pub(crate) async fn batch(&self, task: Task) -> Result<Option<MaintenanceBatch>, TxError> {
        let batch =
            async |conn: &mut AsyncPgConnection| match internal::maintenance::lock(conn, task)
                .await?
            {
                None => Ok(None),
                Some(progress) => self.advance(conn, task, progress).await,
            };
        self.database.transaction(&batch).await
    }

    async fn advance(
        &self,
        conn: &mut AsyncPgConnection,
        task: Task,
        progress: TaskProgress,
    ) -> Result<Option<MaintenanceBatch>, TxError> {
        if task == Task::TrimAttemptCounts {
            return trim_attempt_counts(conn, progress).await.map(Some);
        }
        let after = progress.after_machine;
        let (batch, next, period) = match (task, self.replan_period, self.retention) {
            (Task::Plan, Some(period), _) => {
                let (batch, next) = replan(conn, after, self.database.notify).await?;
                (batch, next, period)
            }
            (Task::TrimHistory, _, Some(retention)) => {
                let trimmed = internal::history::trim(conn, retention, after, ROWS).await?;
                let next = match trimmed.over {
                    true => Next::Over,
                    false => Next::After(trimmed.after),
                };
                let rows = trimmed.rows;
                (MaintenanceBatch::Trimmed { rows }, next, TRIM_PERIOD)
            }
            _ => return Ok(None),
        };
        let (progress, pause) = paced(progress, next, period);
        let failure = batch.failure();
        internal::maintenance::advance(conn, task, progress, millis(pause), failure.as_deref())
            .await?;
        Ok(Some(batch))
    }

    async fn postpone(&self, task: Task, error: &TxError) -> Result<(), TxError> {
        let note = note(&error.to_string());
        let postpone = self.database.run(async |conn| {
            Ok(
                internal::maintenance::postpone(conn, task, millis(PAUSE_AFTER_FAILURE), &note)
                    .await?,
            )
        });
        postpone.await
    }
}

impl MaintenanceBatch {
    /// The note about workflows that failed.
    fn failure(&self) -> Option<String> {
        match self {
            Self::Planned { broken, .. } if !broken.is_empty() => {
                let failures = broken.iter().map(ToString::to_string);
                Some(note(&failures.collect::<Vec<_>>().join("; ")))
            }
            _ => None,
        }
    }
}

/// Attempt counts need no passes: there are few rows, and those of every minute can be summed up after it.
async fn trim_attempt_counts(
    conn: &mut AsyncPgConnection,
    progress: TaskProgress,
) -> Result<MaintenanceBatch, TxError> {
    let rows = internal::attempt_counts::trim(conn, ROWS).await?;
    let pause = match rows {
        0 => COUNTS_IDLE_PAUSE,
        rows if rows >= ROWS.into() => SHORTEST_PAUSE,
        _ => COUNTS_PAUSE,
    };
    internal::maintenance::advance(conn, Task::TrimAttemptCounts, progress, millis(pause), None)
        .await?;
    Ok(MaintenanceBatch::AttemptCountsTrimmed { rows })
}

fn note(failure: &str) -> String {
    Column::ERROR.recorded(failure).into_owned()
}

fn millis(pause: Duration) -> i64 {
    i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
}

/// Where a pass continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    After(Option<MachineId>),
    Over,
}

/// The task's progress after this batch, and the pause until the next one, chosen so that a pass takes about
/// a period. The number of batches is taken from the last pass: counting rows would read whole tables.
fn paced(taken: TaskProgress, next: Next, period: Duration) -> (TaskProgress, Duration) {
    let done = taken.chunks.saturating_add(1);
    let (progress, in_pass) = match next {
        Next::Over => (taken.after_pass(), done),
        Next::After(after_machine) => (
            taken.after_batch(after_machine),
            taken.last_chunks.unwrap_or(UNKNOWN.into()).max(done),
        ),
    };
    let in_pass = u32::try_from(in_pass).unwrap_or(u32::MAX).max(1);
    (progress, (period / in_pass).max(SHORTEST_PAUSE))
}

/// Looks whether noted workflows still fail, and plans the next machines. One statement locks them, and a
/// later one plans them, which sees what was written before the lock. Machines that another transaction has
/// locked are left to it. A workflow that fails does not keep the others from being repaired.
async fn replan(
    conn: &mut AsyncPgConnection,
    after: Option<MachineId>,
    notify: Notify,
) -> Result<(MaintenanceBatch, Next), TxError> {
    internal::plan::check_again(conn, notify).await?;
    let machines = internal::plan::lock_chunk(conn, after, MACHINES).await?;
    let definitions = internal::plan::definitions(conn).await?;
    let unplanned = internal::plan::replan_carefully(conn, &machines, &definitions, notify).await?;
    let is_last = i64::try_from(machines.len()).is_ok_and(|machines| machines < MACHINES);
    let next = match machines.last() {
        Some(last) if !is_last => Next::After(Some(*last)),
        _ => Next::Over,
    };
    let batch = MaintenanceBatch::Planned {
        machines: machines.len(),
        broken: unplanned.into_iter().map(|u| u.broken).collect(),
    };
    Ok((batch, next))
}
