//! Backoffs: which process rests on which machine, until when, and why.

mod list;

pub use list::{BackoffKey, ListedBackoff, Which, page};

use crate::schema::work_backoff;
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A row of the view `work_backoff`, which has one exactly while a backoff is recorded: from a
/// failure or a loss until the next finish, also after its time has passed.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = work_backoff, check_for_backend(diesel::pg::Pg))]
pub struct BackoffRow {
    /// The machine.
    pub machine_id: MachineId,
    /// The process.
    pub process: Process,
    /// When it ends, or ended.
    pub until: DateTime<Utc>,
    /// Why the last attempt failed.
    pub cause: Option<String>,
    /// The interval the next one grows from, in seconds; none after a loss without a failure before
    /// it, and none where a component of the previous version wrote the backoff.
    pub last_interval_seconds: Option<i64>,
}

/// What a backoff that is to be changed was.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct LockedBackoff {
    /// Who is at work on it now, and decides with its end.
    pub session: Option<SessionId>,
    /// Under this fence.
    pub fence: Fence,
    /// When the backoff ends, or ended; `None` where there is none.
    pub until: Option<DateTime<Utc>>,
    /// How many times in a row the process has failed.
    pub failures: i64,
    /// How many times in a row it was lost.
    pub losses: i64,
    /// Why it failed last.
    pub cause: Option<String>,
    /// The interval the next one grows from, in seconds.
    pub last_interval_seconds: Option<i64>,
}

/// The backoff of a process on a machine, in force or passed.
///
/// # Errors
/// [`Error::Database`].
pub async fn of(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
) -> Result<Option<BackoffRow>, Error> {
    Ok(work_backoff::table
        .filter(work_backoff::machine_id.eq(machine))
        .filter(work_backoff::process.eq(process))
        .select(BackoffRow::as_select())
        .first(conn)
        .await
        .optional()?)
}
