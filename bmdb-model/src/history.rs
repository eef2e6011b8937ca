//! History: what was started on a machine, and how it ended.

use crate::schema::work_history;
use crate::statement::statement;
use crate::text_enum::text_enum;
use crate::{Error, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Uuid as SqlUuid};
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

/// How much history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How many attempts of a machine, the latest ones.
    pub attempts_per_machine: u32,
    /// For how many seconds after their end.
    pub seconds: u32,
}

statement! {
    Trim = include_str!("sql/trim_history.sql");
    (after: Option<MachineId> => Nullable<SqlUuid>, machines: i64 => BigInt, per_machine: i64 => BigInt, seconds: i64 => BigInt)
    -> (Nullable<SqlUuid>, BigInt)
}

/// Deletes the attempts that are not to be kept of up to `machines` machines after `after`, in id
/// order; returns the last of these machines, if there were any, and how many rows were deleted.
///
/// # Errors
/// [`Error::Database`].
pub async fn trim(
    conn: &mut AsyncPgConnection,
    retention: Retention,
    after: Option<MachineId>,
    machines: i64,
) -> Result<(Option<MachineId>, u64), Error> {
    let trim = Trim {
        after,
        machines,
        per_machine: retention.attempts_per_machine.into(),
        seconds: retention.seconds.into(),
    };
    let (last, deleted): (Option<MachineId>, i64) = trim.get_result(conn).await?;
    Ok((last, deleted.unsigned_abs()))
}
