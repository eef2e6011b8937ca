//! History: what was started on a machine, and how it ended.

mod last_failures;
mod of_session;
mod page;

pub use last_failures::last_failures;
pub use of_session::{SessionPastKey, of_session};
pub use page::{Entry, HistoryKey, PastAttempt, page};

use crate::schema::work_history;
use crate::statement::statement;
use crate::text_enum::text_enum;
use crate::{Error, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

text_enum! {
    /// How an attempt ended.
    Outcome {
        /// With its tags committed.
        Finished,
        /// With a backoff.
        Failed,
        /// Without a verdict.
        Canceled,
        /// Its session expired.
        Expired,
    }
}

text_enum! {
    /// What happened.
    Event {
        /// A claim.
        Started,
        /// See [`Outcome::Finished`].
        Finished,
        /// See [`Outcome::Failed`].
        Failed,
        /// See [`Outcome::Canceled`].
        Canceled,
        /// See [`Outcome::Expired`].
        Expired,
    }
}

/// A row of the view `work_history`.
///
/// A streak of equal failures folded into one row of `work_attempt` shows its first start and its
/// last end.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = work_history, check_for_backend(Pg))]
pub struct HistoryEvent {
    /// The machine.
    pub machine_id: MachineId,
    /// The process.
    pub process: Process,
    /// What happened.
    pub event: Event,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// Why it failed.
    pub failed_cause: Option<String>,
    /// Whose doing it was.
    pub session_id: SessionId,
}

/// A machine's history, oldest first.
///
/// # Errors
/// [`Error::Database`].
pub async fn of(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
) -> Result<Vec<HistoryEvent>, Error> {
    Ok(work_history::table
        .filter(work_history::machine_id.eq(machine))
        .order((
            work_history::timestamp,
            work_history::event.ne(Event::Started),
        ))
        .select(HistoryEvent::as_select())
        .load(conn)
        .await?)
}

/// How much history is kept. Default: the last 1000 rows of each machine, for 90 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How many attempts of a machine, the latest ones. A streak of equal failures that is folded into
    /// one row counts as one.
    pub attempts_per_machine: u32,
    /// For how many seconds after their end.
    pub seconds: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            attempts_per_machine: 1000,
            seconds: 90 * 86_400,
        }
    }
}

/// What [`trim`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// How many rows it has deleted.
    pub rows: u64,
    /// The machine to go on after: the one it was called with, if there is more to delete of the same
    /// machines.
    pub after: Option<MachineId>,
    /// Whether that was the last of the history.
    pub over: bool,
}

statement! {
    Trim = concat!(include_str!("sql/history_surplus.sql"), include_str!("sql/trim_history.sql"));
    (after: Option<MachineId> => Nullable<SqlUuid>, rows: i64 => BigInt, per_machine: i64 => BigInt, seconds: i64 => BigInt)
    -> (Nullable<SqlUuid>, Bool, Bool, BigInt)
}

/// Deletes the attempts that are not to be kept of the next machines after `after`, in id order: of as
/// many as the next `rows` rows of history belong to, and no more than `rows` of them at once. Where a
/// machine has more, the same ones are to be looked at again.
///
/// # Errors
/// [`Error::Database`].
pub async fn trim(
    conn: &mut AsyncPgConnection,
    retention: Retention,
    after: Option<MachineId>,
    rows: u32,
) -> Result<Trimmed, Error> {
    let trim = Trim {
        after,
        rows: rows.into(),
        per_machine: retention.attempts_per_machine.into(),
        seconds: retention.seconds.into(),
    };
    let (last, is_last, is_more, deleted): (Option<MachineId>, bool, bool, i64) =
        trim.get_result(conn).await?;
    Ok(Trimmed {
        rows: deleted.unsigned_abs(),
        after: if is_more { after } else { last },
        over: is_last && !is_more,
    })
}

statement! {
    CountSurplus = concat!(include_str!("sql/history_surplus.sql"), "SELECT count(*) FROM surplus");
    (after: Option<MachineId> => Nullable<SqlUuid>, rows: i64 => BigInt, per_machine: i64 => BigInt, seconds: i64 => BigInt)
    -> BigInt
}

/// How many rows [`trim`] would delete now; `None` for `rows` counts in all of the history, and reads
/// it.
///
/// # Errors
/// [`Error::Database`].
pub async fn surplus(
    conn: &mut AsyncPgConnection,
    retention: Retention,
    after: Option<MachineId>,
    rows: Option<u32>,
) -> Result<u64, Error> {
    let count = CountSurplus {
        after,
        // One less than the most, for the statement looks one further.
        rows: rows.map_or(i64::MAX - 1, i64::from),
        per_machine: retention.attempts_per_machine.into(),
        seconds: retention.seconds.into(),
    };
    let found: i64 = count.get_result(conn).await?;
    let most = rows.map_or(u64::MAX, u64::from);
    Ok(found.unsigned_abs().min(most))
}
