//! Backoffs: which process backs off on which machine, until when, and why.

mod list;

pub use list::{BackoffKey, ListedBackoff, Which, page};

use crate::schema::work_backoff;
use crate::time::Stored;
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A row of the view `work_backoff`. The view has one while a backoff is recorded: from a failure or an
/// expired attempt until the next finish, even after its time has passed.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = work_backoff, check_for_backend(diesel::pg::Pg))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct BackoffRow {
    pub machine_id: MachineId,
    pub process: Process,
    /// When the backoff ends, or ended.
    #[diesel(deserialize_as = Stored)]
    pub until: DateTime<Utc>,
    /// Why the last attempt failed.
    pub cause: Option<String>,
    /// The interval from which the next one is computed, in seconds. `None` after an expired attempt
    /// without a failure before it, and where a component of the previous version wrote the backoff.
    pub last_interval_seconds: Option<i64>,
}

/// A backoff before an operator changes it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LockedBackoff {
    /// The session that works on the item. Its attempt's end decides about the backoff.
    pub session: Option<SessionId>,
    /// The fence of the item's last claim.
    pub fence: Fence,
    /// When the backoff ends, or ended; `None` without a backoff.
    pub until: Option<DateTime<Utc>>,
    /// How many times in a row the process has failed.
    pub failures: i64,
    /// How many times in a row its attempt has expired.
    pub losses: i64,
    /// Why the last attempt failed.
    pub cause: Option<String>,
    /// The interval from which the next one is computed, in seconds.
    pub last_interval_seconds: Option<i64>,
}

/// Returns the backoff of a process on a machine, whether it is in force or has passed.
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
