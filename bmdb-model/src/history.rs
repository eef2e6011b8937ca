//! History: the attempts on a machine, and how they ended.

mod last_failures;
mod of_session;
mod page;

pub use last_failures::last_failures;
pub use of_session::{SessionPastKey, of_session};
pub(crate) use page::PastColumns;
pub use page::{Entry, HistoryKey, PastAttempt, page};

use crate::schema::work_history;
use crate::text_enum::text_enum;
use crate::time::Stored;
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
        /// Without a result.
        Canceled,
        /// Its session expired.
        Expired,
    }
}

text_enum! {
    /// What happened to an attempt.
    Event {
        /// The claim.
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
/// A streak of equal failures is folded into one row of `work_attempt`; the view shows its first start
/// and its last end.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = work_history, check_for_backend(Pg))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct HistoryEvent {
    pub machine_id: MachineId,
    pub process: Process,
    pub event: Event,
    #[diesel(deserialize_as = Stored)]
    pub timestamp: DateTime<Utc>,
    /// Why it failed.
    pub failed_cause: Option<String>,
    /// The session of the attempt.
    pub session_id: SessionId,
}

/// Returns a machine's history, the oldest event first.
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

/// How much history is kept. Default: the latest 1000 rows of each machine, for 90 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Retention {
    /// How many of a machine's latest attempts are kept. A streak of equal failures that is folded into
    /// one row counts as one.
    pub attempts_per_machine: u32,
    /// For how many seconds after their end attempts are kept.
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
