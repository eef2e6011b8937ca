//! Ending attempts, and finding out how one ended.

use super::Attempt;
use crate::error::storable;
use crate::history::Outcome;
use crate::schema::work_attempt;
use crate::statement::statement;
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::borrow::Cow;

/// The longest cause kept, in bytes; a longer one is cut and marked.
pub const MAXIMUM_CAUSE_BYTES: usize = 8192;

const CUT_MARK: &str = " … [cut]";

/// What came of a statement that ends an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended<T> {
    /// The attempt is ended.
    Done(T),
    /// The session has expired; nothing was written.
    SessionExpired,
    /// The session lives but does not hold this attempt (any more); nothing was written.
    Lost,
}

impl<T> Ended<T> {
    /// The same with another value.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Ended<U> {
        match self {
            Self::Done(value) => Ended::Done(map(value)),
            Self::SessionExpired => Ended::SessionExpired,
            Self::Lost => Ended::Lost,
        }
    }
}

/// A failure, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt<'a> {
    /// How long the machine rests, in seconds.
    pub delay_seconds: u32,
    /// The un-jittered interval the next one is computed from, in seconds.
    pub interval_seconds: u32,
    /// Why, for people; longer than [`MAXIMUM_CAUSE_BYTES`] is cut with a mark.
    pub cause: &'a str,
    /// Whether a failure just like the one before is folded into that one's history row.
    pub fold: bool,
}

statement! {
    Fail<'a> = include_str!("../sql/fail.sql");
    (
        session: SessionId => SqlUuid, delay: i64 => BigInt, interval: i64 => BigInt, cause: &'a str => Text,
        machine: MachineId => SqlUuid, process: &'a Process => Text, fence: Fence => BigInt,
        fold: bool => Bool, started_at: DateTime<Utc> => Timestamptz
    ) -> (Bool, Nullable<Timestamptz>)
}

/// Ends an attempt as failed, in one statement; returns when the machine's backoff ends.
///
/// # Errors
/// [`Error::NulByte`] for the cause, [`Error::Database`].
pub async fn fail(
    conn: &mut AsyncPgConnection,
    attempt: &Attempt,
    failed: &FailedAttempt<'_>,
) -> Result<Ended<DateTime<Utc>>, Error> {
    storable("cause", failed.cause)?;
    let cause = cut_cause(failed.cause);
    let statement = Fail {
        session: attempt.session,
        delay: failed.delay_seconds.into(),
        interval: failed.interval_seconds.into(),
        cause: &cause,
        machine: attempt.machine,
        process: &attempt.process,
        fence: attempt.fence,
        fold: failed.fold,
        started_at: attempt.started_at,
    };
    let (lives, until): (bool, Option<DateTime<Utc>>) = statement.get_result(conn).await?;
    Ok(match (lives, until) {
        (_, Some(until)) => Ended::Done(until),
        (true, None) => Ended::Lost,
        (false, None) => Ended::SessionExpired,
    })
}

fn cut_cause(cause: &str) -> Cow<'_, str> {
    if cause.len() <= MAXIMUM_CAUSE_BYTES {
        return Cow::Borrowed(cause);
    }
    let end = cause.floor_char_boundary(MAXIMUM_CAUSE_BYTES - CUT_MARK.len());
    Cow::Owned(format!("{}{CUT_MARK}", &cause[..end]))
}

statement! {
    Release<'a> = include_str!("../sql/release.sql");
    (
        session: SessionId => SqlUuid, fenced: bool => Bool, outcome: Outcome => Text, process: &'a Process => Text,
        machine: MachineId => SqlUuid, fence: Fence => BigInt, started_at: DateTime<Utc> => Timestamptz
    ) -> (Bool, Bool)
}

/// Ends an attempt as finished, clearing its backoff and failures, in one statement.
///
/// # Errors
/// [`Error::Database`].
pub async fn finish(conn: &mut AsyncPgConnection, attempt: &Attempt) -> Result<Ended<()>, Error> {
    release(conn, attempt, Outcome::Finished, Fenced::No).await
}

/// As [`finish`], within a transaction of the session whose [`crate::session::fence_check`] passed.
///
/// # Errors
/// [`Error::Database`].
pub async fn finish_fenced(
    conn: &mut AsyncPgConnection,
    attempt: &Attempt,
) -> Result<Ended<()>, Error> {
    release(conn, attempt, Outcome::Finished, Fenced::Yes).await
}

/// Ends an attempt without a verdict, in one statement; a backoff and its interval survive.
///
/// # Errors
/// [`Error::Database`].
pub async fn cancel(conn: &mut AsyncPgConnection, attempt: &Attempt) -> Result<Ended<()>, Error> {
    release(conn, attempt, Outcome::Canceled, Fenced::No).await
}

/// Whether the transaction has found the session alive and holds its row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fenced {
    Yes,
    No,
}

async fn release(
    conn: &mut AsyncPgConnection,
    attempt: &Attempt,
    outcome: Outcome,
    fenced: Fenced,
) -> Result<Ended<()>, Error> {
    let statement = Release {
        session: attempt.session,
        fenced: fenced == Fenced::Yes,
        outcome,
        process: &attempt.process,
        machine: attempt.machine,
        fence: attempt.fence,
        started_at: attempt.started_at,
    };
    let (lives, ended): (bool, bool) = statement.get_result(conn).await?;
    Ok(match (lives, ended) {
        (_, true) => Ended::Done(()),
        (true, false) => Ended::Lost,
        (false, false) => Ended::SessionExpired,
    })
}

statement! {
    HeldStill<'a> = include_str!("../sql/held_still.sql");
    (machine: MachineId => SqlUuid, process: &'a Process => Text, fence: Fence => BigInt, session: SessionId => SqlUuid)
    -> diesel::sql_types::Integer
}

/// What became of an attempt whose end's answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is still held: the end did not happen.
    Held,
    /// It ended, as the history says.
    Ended(Outcome, Option<DateTime<Utc>>),
    /// There is no trace of it (history may have been trimmed).
    Unknown,
}

/// Finds out what became of an attempt, waiting for an end that is still in flight. Run it in a
/// READ COMMITTED transaction or in autocommit: the second look must see what the wait was for.
///
/// # Errors
/// [`Error::Database`].
pub async fn fate(conn: &mut AsyncPgConnection, attempt: &Attempt) -> Result<Fate, Error> {
    let held: Option<i32> = HeldStill {
        machine: attempt.machine,
        process: &attempt.process,
        fence: attempt.fence,
        session: attempt.session,
    }
    .get_result(conn)
    .await
    .optional()?;
    if held.is_some() {
        return Ok(Fate::Held);
    }
    let ended: Option<Outcome> = work_attempt::table
        .filter(work_attempt::machine_id.eq(attempt.machine))
        .filter(work_attempt::process.eq(&attempt.process))
        .filter(work_attempt::fence.le(attempt.fence))
        .filter(work_attempt::last_fence.ge(attempt.fence))
        .select(work_attempt::outcome)
        .first(conn)
        .await
        .optional()?;
    let Some(outcome) = ended else {
        return Ok(Fate::Unknown);
    };
    let until = crate::backoff::of(conn, attempt.machine, &attempt.process).await?;
    Ok(Fate::Ended(outcome, until.map(|backoff| backoff.until)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_cause_is_cut_at_a_character_and_marked() {
        let cause = "ß".repeat(5000);
        let cut = cut_cause(&cause);
        assert!(
            cut.len() <= MAXIMUM_CAUSE_BYTES && cut.ends_with(CUT_MARK),
            "{}",
            cut.len()
        );
        assert_eq!(cut_cause("no answer"), "no answer");
    }
}
