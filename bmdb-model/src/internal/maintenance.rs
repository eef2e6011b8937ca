//! Locking maintenance tasks, and recording their progress.

use crate::maintenance::{Task, TaskProgress};
use crate::schema::upkeep;
use crate::statement::statement;
use crate::{Error, MachineId};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What there is for a janitor to do.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct PendingTasks {
    /// Whether sessions have expired.
    pub expired: bool,
    /// The tasks that are due, the longest due first.
    pub due: Vec<Task>,
    /// Whether a breaker is disarmed that may be armed again.
    pub disarmed: bool,
    /// Whether a session's deadline is farther away than its interval: the clock was set back.
    pub overlong: bool,
    /// Whether the clock was set back by more than a few minutes, and not everything is mended yet.
    pub set_back: bool,
}

statement! {
    Pending<'a> = include_str!("../sql/pending_tasks.sql");
    (tasks: &'a [Task] => Array<Text>) -> (Bool, Array<Text>, Bool, Bool, Bool)
}

/// Returns which of these tasks are due and whether sessions have expired. One statement that writes
/// and locks nothing.
///
/// # Errors
/// [`Error::Database`].
pub async fn pending(conn: &mut AsyncPgConnection, tasks: &[Task]) -> Result<PendingTasks, Error> {
    Ok(Pending { tasks }.get_result(conn).await?)
}

/// Locks a task that is due until the end of the transaction. `None` if it is not due, or if another
/// janitor has locked it. Lock the task before sessions, machines and items.
///
/// # Errors
/// [`Error::Database`].
pub async fn lock(conn: &mut AsyncPgConnection, task: Task) -> Result<Option<TaskProgress>, Error> {
    Ok(upkeep::table
        .find(task)
        .filter(upkeep::due_at.le(super::session::clock_timestamp()))
        .select(TaskProgress::as_select())
        .for_no_key_update()
        .skip_locked()
        .first(conn)
        .await
        .optional()?)
}

statement! {
    Advance<'a> = "UPDATE upkeep SET after_machine = $1, chunks = $2, last_chunks = $3, failure = $4, \
             due_at = clock_timestamp() + $5 * interval '1 millisecond' WHERE task = $6";
    (
        after_machine: Option<MachineId> => Nullable<diesel::sql_types::Uuid>, chunks: i64 => BigInt,
        last_chunks: Option<i64> => Nullable<BigInt>, failure: Option<&'a str> => Nullable<Text>,
        pause: i64 => BigInt, task: Task => Text
    ) -> ()
}

/// Records the progress of a locked task and why its batch failed, if it did. The next batch is due
/// after a pause in milliseconds.
///
/// # Errors
/// [`Error::Database`].
pub async fn advance(
    conn: &mut AsyncPgConnection,
    task: Task,
    progress: TaskProgress,
    pause_milliseconds: i64,
    failure: Option<&str>,
) -> Result<(), Error> {
    let advance = Advance {
        after_machine: progress.after_machine,
        chunks: progress.chunks,
        last_chunks: progress.last_chunks,
        failure,
        pause: pause_milliseconds,
        task,
    };
    advance.execute(conn).await?;
    Ok(())
}

statement! {
    Postpone<'a> = "UPDATE upkeep SET failure = $1, \
             due_at = clock_timestamp() + $2 * interval '1 millisecond' \
             WHERE task = $3 AND due_at <= clock_timestamp()";
    (failure: &'a str => Text, pause: i64 => BigInt, task: Task => Text) -> ()
}

/// Records that a batch of a task has failed, and postpones the next attempt by a pause in
/// milliseconds.
///
/// # Errors
/// [`Error::Database`].
pub async fn postpone(
    conn: &mut AsyncPgConnection,
    task: Task,
    pause_milliseconds: i64,
    failure: &str,
) -> Result<(), Error> {
    let postpone = Postpone {
        failure,
        pause: pause_milliseconds,
        task,
    };
    postpone.execute(conn).await?;
    Ok(())
}
