//! A chunk of upkeep: one bounded transaction, of whichever janitor comes first.

use crate::db::config::Config;
use crate::db::deadline::Patience;
use crate::db::pool::Pool;
use crate::db::transaction::run_unfenced;
use crate::error::TxError;
use bmdb_model::history::Retention;
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::{attempt_counts, connection, history, maintenance, plan};
use bmdb_model::maintenance::{Task, TaskProgress};
use bmdb_model::{MachineId, Process};
use diesel_async::AsyncPgConnection;
use std::time::Duration;

/// How many machines one transaction plans.
pub(crate) const MACHINES: i64 = 500;

/// How many rows of history one transaction looks at, and how many it deletes at most. The rows of one
/// machine are always looked at together.
pub(crate) const ROWS: u32 = 5000;

/// How long a pass over the history takes.
const TRIM_PERIOD: Duration = Duration::from_secs(86_400);

/// The pause between additions of the attempt_counts while attempts are counted.
const TALLY_PAUSE: Duration = Duration::from_secs(60);

/// And while none are.
const TALLY_IDLE_PAUSE: Duration = Duration::from_secs(300);

/// The shortest pause between two chunks: what there is to do for the largest fleet and in the longest
/// history must stay a small part of what the database does.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The pause after a chunk that failed as a whole.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60);

/// How many chunks a pass is taken to have before there was one: as a million machines have.
const UNKNOWN: u32 = 2000;

/// The longest note about a failure, in characters.
const NOTE: usize = 500;

/// A chunk of upkeep that was due and is done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MaintenanceBatch {
    /// Machines were planned anew.
    Planned {
        /// How many.
        machines: usize,
        /// Workflows that could not be planned by, and why: their items were left as they were.
        broken: Vec<(Process, String)>,
    },
    /// History that is not to be kept was deleted.
    Trimmed {
        /// How many rows.
        rows: u64,
    },
    /// The attempt_counts of minutes that are over was added up, and what is not to be kept of it deleted.
    TallyTrimmed {
        /// How many rows are gone by that.
        rows: u64,
    },
}

/// Which upkeep a component does, and how.
#[derive(Debug, Clone)]
pub(crate) struct Upkeep {
    pub(crate) replan_period: Option<Duration>,
    pub(crate) retention: Option<Retention>,
    notify: Notify,
    retry_for: Duration,
    tasks: Vec<Task>,
}

impl Upkeep {
    pub(crate) fn new(config: &Config, notify: Notify) -> Self {
        let tasks = [
            config.replan_period.map(|_| Task::Plan),
            config.retention.map(|_| Task::TrimHistory),
            config.tally_interval.map(|_| Task::TrimAttemptCounts),
        ];
        Self {
            replan_period: config.replan_period,
            retention: config.retention,
            notify,
            retry_for: config.retry_for,
            tasks: tasks.into_iter().flatten().collect(),
        }
    }

    /// What it does of what there is to do.
    pub(crate) fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Takes a chunk, and logs what came of it. One that failed is put off, lest everybody tries again
    /// at every turn.
    pub(crate) async fn take_chunk(&self, pool: &Pool, task: Task) {
        match self.chunk(pool, task).await {
            Ok(None) => {}
            Ok(Some(MaintenanceBatch::Trimmed { rows })) => {
                tracing::debug!(rows, "trimmed a chunk of history");
            }
            Ok(Some(MaintenanceBatch::TallyTrimmed { rows })) => {
                tracing::debug!(rows, "trimmed the attempt_counts");
            }
            Ok(Some(MaintenanceBatch::Planned { machines, broken })) => {
                tracing::debug!(machines, "planned a chunk of the fleet anew");
                for (process, problem) in broken {
                    tracing::warn!(%process, %problem, "a workflow cannot be planned by");
                }
            }
            Err(error) => {
                tracing::warn!(%task, %error, "a chunk of upkeep failed");
                if let Err(error) = postpone(pool, task, &error).await {
                    tracing::debug!(%task, %error, "and could not be put off");
                }
            }
        }
    }

    /// One chunk of the task, if it is due and nobody else has it.
    pub(crate) async fn chunk(
        &self,
        pool: &Pool,
        task: Task,
    ) -> Result<Option<MaintenanceBatch>, TxError> {
        let chunk = async |conn: &mut AsyncPgConnection| match maintenance::lock(conn, task).await?
        {
            None => Ok(None),
            Some(progress) => self.go_on(conn, task, progress).await,
        };
        run_unfenced(pool, self.retry_for, &chunk).await
    }

    async fn go_on(
        &self,
        conn: &mut AsyncPgConnection,
        task: Task,
        progress: TaskProgress,
    ) -> Result<Option<MaintenanceBatch>, TxError> {
        if task == Task::TrimAttemptCounts {
            return trim_tally(conn, progress).await.map(Some);
        }
        let after = progress.after_machine;
        let (chunk, next, period) = match (task, self.replan_period, self.retention) {
            (Task::Plan, Some(period), _) => {
                let (chunk, next) = replan(conn, after, self.notify).await?;
                (chunk, next, period)
            }
            (Task::TrimHistory, _, Some(retention)) => {
                let trimmed = history::trim(conn, retention, after, ROWS).await?;
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
        let failure = chunk.failure();
        let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        maintenance::advance(conn, task, progress, pause, failure.as_deref()).await?;
        Ok(Some(chunk))
    }
}

impl MaintenanceBatch {
    /// What is noted of what went wrong.
    fn failure(&self) -> Option<String> {
        match self {
            Self::Planned { broken, .. } if !broken.is_empty() => {
                let told = broken
                    .iter()
                    .map(|(process, problem)| format!("{process}: {problem}"));
                Some(note(&told.collect::<Vec<_>>().join("; ")))
            }
            _ => None,
        }
    }
}

/// Not by passes: its rows are few, and become ready to be added up by the minute.
async fn trim_tally(
    conn: &mut AsyncPgConnection,
    progress: TaskProgress,
) -> Result<MaintenanceBatch, TxError> {
    let rows = attempt_counts::trim(conn, ROWS).await?;
    let pause = match rows {
        0 => TALLY_IDLE_PAUSE,
        rows if rows >= ROWS.into() => SHORTEST_PAUSE,
        _ => TALLY_PAUSE,
    };
    let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
    maintenance::advance(conn, Task::TrimAttemptCounts, progress, pause, None).await?;
    Ok(MaintenanceBatch::TallyTrimmed { rows })
}

fn note(failure: &str) -> String {
    failure.chars().take(NOTE).collect()
}

/// Where a pass goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    After(Option<MachineId>),
    Over,
}

/// How far the task has come with this chunk, and how long it pauses, so that a pass takes about a
/// period. The last pass tells how many chunks there are: counting would read whole tables.
fn paced(taken: TaskProgress, next: Next, period: Duration) -> (TaskProgress, Duration) {
    let chunks = taken.chunks.saturating_add(1);
    let (progress, of_a_pass) = match next {
        Next::Over => (taken.after_pass(), chunks),
        Next::After(machine) => (
            taken.after_batch(machine),
            taken.last_chunks.unwrap_or(UNKNOWN.into()).max(chunks),
        ),
    };
    let of_a_pass = u32::try_from(of_a_pass).unwrap_or(u32::MAX).max(1);
    (progress, (period / of_a_pass).max(SHORTEST_PAUSE))
}

async fn postpone(pool: &Pool, task: Task, error: &TxError) -> Result<(), TxError> {
    let patience = Patience::of_server(pool);
    let mut conn = patience.checkout(pool).await?;
    let pause = i64::try_from(PAUSE_AFTER_FAILURE.as_millis()).unwrap_or(i64::MAX);
    let note = note(&error.to_string());
    let postponed = maintenance::postpone(&mut conn, task, pause, &note);
    patience.answer(postponed).await?;
    conn.give_back();
    Ok(())
}

/// Plans the next machines. The machines are locked by one statement and planned by a later one, which
/// sees what was written before the lock; those that somebody else has locked are left to that writer,
/// who plans them.
async fn replan(
    conn: &mut AsyncPgConnection,
    after: Option<MachineId>,
    notify: Notify,
) -> Result<(MaintenanceBatch, Next), TxError> {
    let machines = plan::lock_chunk(conn, after, MACHINES).await?;
    let broken = plan_what_can_be(conn, &machines, notify).await?;
    let is_last = i64::try_from(machines.len()).is_ok_and(|machines| machines < MACHINES);
    let next = match machines.last() {
        Some(last) if !is_last => Next::After(Some(*last)),
        _ => Next::Over,
    };
    let machines = machines.len();
    Ok((MaintenanceBatch::Planned { machines, broken }, next))
}

/// Plans by all workflows, or, where one of them cannot be planned by, by each on its own: a view that
/// is gone, or that lists a machine twice, must not keep the others from being repaired. Returns what
/// cannot be planned by.
async fn plan_what_can_be(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    notify: Notify,
) -> Result<Vec<(Process, String)>, TxError> {
    let definitions = plan::definitions(conn).await?;
    let plan = async |conn: &mut AsyncPgConnection, by: &plan::Definitions| {
        plan::replan_by(conn, machines, by, notify).await
    };
    if tried(conn, async |conn| plan(conn, &definitions).await)
        .await?
        .is_ok()
    {
        return Ok(Vec::new());
    }
    let mut broken = Vec::new();
    for process in definitions.processes() {
        let only = definitions.only(process);
        if let Err(error) = tried(conn, async |conn| plan(conn, &only).await).await? {
            broken.push((process.clone(), error.to_string()));
        }
    }
    Ok(broken)
}

/// Runs a part of a transaction that may fail, and then is taken back by itself. What has to be run
/// again with the whole transaction is an error of the whole.
async fn tried(
    conn: &mut AsyncPgConnection,
    part: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<(), bmdb_model::Error>,
) -> Result<Result<(), bmdb_model::Error>, TxError> {
    connection::save(conn).await?;
    let Err(error) = part(conn).await else {
        return Ok(Ok(connection::commit(conn).await?));
    };
    // Where the connection is gone, so is this.
    connection::roll_back(conn).await?;
    match error.kind().is_retryable() {
        true => Err(error.into()),
        false => Ok(Err(error)),
    }
}
