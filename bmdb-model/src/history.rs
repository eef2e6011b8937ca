//! History: what was started on a machine, and how it ended.

mod last_failures;
mod of_session;
mod page;

pub use last_failures::last_failures;
pub use of_session::{SessionPastKey, of_session};
pub use page::{Entry, HistoryKey, PastAttempt, page};

use crate::schema::work_history;
use crate::text_enum::text_enum;
use crate::{Error, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
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
