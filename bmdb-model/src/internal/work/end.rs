//! Ending attempts, and finding out how an attempt ended.

use super::attempt::Attempt;
use super::failure_text::recorded_cause;
use crate::history::Outcome;
use crate::schema::work_attempt;
use crate::statement::statement;
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::borrow::Cow;
use std::collections::HashMap;

/// The result of a statement that ends an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended<T> {
    /// The attempt is ended.
    Done(T),
    /// The session has expired; nothing was written.
    SessionExpired,
    /// The session is alive but does not have this attempt any more; nothing was written.
    Lost,
}

impl<T> Ended<T> {
    /// The same result with another value.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Ended<U> {
        match self {
            Self::Done(value) => Ended::Done(map(value)),
            Self::SessionExpired => Ended::SessionExpired,
            Self::Lost => Ended::Lost,
        }
    }
}

/// A failure to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt<'a> {
    /// For how many seconds the machine backs off.
    pub delay_seconds: u32,
    /// The interval without jitter from which the next one is computed, in seconds.
    pub interval_seconds: u32,
    /// Why it failed, for people. Longer than [`MAXIMUM_CAUSE_BYTES`](super::MAXIMUM_CAUSE_BYTES) it is
    /// cut with a mark.
    pub cause: &'a str,
    /// Whether a failure that equals the one before is folded into that one's history row.
    pub fold: bool,
}

/// The text of failures, as [`fail_all`] prepares it, for measuring and explaining it without this
/// crate. Its parameters are arrays of machines, processes, fences, start times, delays and intervals
/// in seconds, causes and whether to fold, and the session.
pub const FAIL: &str = include_str!("../../sql/fail.sql");

statement! {
    Fail<'a> = FAIL;
    (
        machines: &'a [MachineId] => Array<SqlUuid>, processes: &'a [&'a Process] => Array<Text>,
        fences: &'a [Fence] => Array<BigInt>, started_at: &'a [DateTime<Utc>] => Array<Timestamptz>,
        delays: &'a [i64] => Array<BigInt>, intervals: &'a [i64] => Array<BigInt>,
        causes: &'a [Cow<'a, str>] => Array<Text>, folds: &'a [bool] => Array<Bool>,
        session: SessionId => SqlUuid
    ) -> (Bool, Nullable<BigInt>, Nullable<Timestamptz>)
}

/// Ends attempts of one session as failed, in one statement. Returns for each, in the given order, when
/// its machine's backoff ends. They end independently: a lost attempt does not affect the others.
///
/// # Errors
/// [`Error::NulByte`] for a cause, [`Error::Database`]; nothing was written then.
pub async fn fail_all(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    failures: &[(&Attempt, FailedAttempt<'_>)],
) -> Result<Vec<Ended<DateTime<Utc>>>, Error> {
    let causes: Result<Vec<_>, Error> = failures
        .iter()
        .map(|(_, failed)| recorded_cause(failed.cause))
        .collect();
    let attempts = Attempts::of(failures.iter().map(|(attempt, _)| *attempt));
    let all = || failures.iter().map(|(_, failed)| failed);
    let statement = Fail {
        machines: &attempts.machines,
        processes: &attempts.processes,
        fences: &attempts.fences,
        started_at: &attempts.started_at,
        delays: &all().map(|f| f.delay_seconds.into()).collect::<Vec<_>>(),
        intervals: &all().map(|f| f.interval_seconds.into()).collect::<Vec<_>>(),
        causes: &causes?,
        folds: &all().map(|f| f.fold).collect::<Vec<_>>(),
        session,
    };
    let rows: Vec<(bool, Option<Fence>, Option<DateTime<Utc>>)> = statement.load(conn).await?;
    let is_alive = rows.iter().any(|(is_alive, ..)| *is_alive);
    let ended = rows
        .into_iter()
        .filter_map(|(_, fence, until)| Some((fence?, until?)));
    Ok(attempts.outcomes(is_alive, &ended.collect()))
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
    let ended = fail_all(conn, attempt.session, &[(attempt, failed.clone())]).await?;
    Ok(only(ended))
}

/// The columns of attempts, as arrays.
struct Attempts<'a> {
    machines: Vec<MachineId>,
    processes: Vec<&'a Process>,
    fences: Vec<Fence>,
    started_at: Vec<DateTime<Utc>>,
}

impl<'a> Attempts<'a> {
    fn of(attempts: impl Iterator<Item = &'a Attempt> + Clone) -> Self {
        Self {
            machines: attempts.clone().map(|a| a.machine).collect(),
            processes: attempts.clone().map(|a| &a.process).collect(),
            fences: attempts.clone().map(|a| a.fence).collect(),
            started_at: attempts.map(|a| a.started_at).collect(),
        }
    }

    /// The result for each attempt, in order. A fence is never used twice, so it identifies its
    /// attempt.
    fn outcomes<T: Copy>(&self, is_alive: bool, ended: &HashMap<Fence, T>) -> Vec<Ended<T>> {
        let outcome = |fence: &Fence| match ended.get(fence) {
            Some(value) => Ended::Done(*value),
            None if is_alive => Ended::Lost,
            None => Ended::SessionExpired,
        };
        self.fences.iter().map(outcome).collect()
    }
}

/// The result of a batch of one.
fn only<T>(ended: Vec<Ended<T>>) -> Ended<T> {
    ended.into_iter().next().unwrap_or(Ended::Lost)
}

statement! {
    ReleaseAll<'a> = include_str!("../../sql/release.sql");
    (
        machines: &'a [MachineId] => Array<SqlUuid>, processes: &'a [&'a Process] => Array<Text>,
        fences: &'a [Fence] => Array<BigInt>, started_at: &'a [DateTime<Utc>] => Array<Timestamptz>,
        outcomes: &'a [Outcome] => Array<Text>, session: SessionId => SqlUuid, fenced: bool => Bool
    ) -> (Bool, Nullable<BigInt>)
}

/// An end that is not a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Release {
    /// The attempt succeeded: backoff and failures are cleared.
    Finished,
    /// The attempt has no result: a backoff and its interval are kept.
    Canceled,
}

/// Ends attempts of one session without a failure, in one statement. Returns the result for each, in
/// the given order. They end independently: a lost attempt does not affect the others.
///
/// # Errors
/// [`Error::Database`]; nothing was written then.
pub async fn release_all(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    releases: &[(&Attempt, Release)],
) -> Result<Vec<Ended<()>>, Error> {
    release(conn, session, releases, Fenced::No).await
}

/// Ends an attempt as finished, which clears its backoff and failures, in one statement.
///
/// # Errors
/// [`Error::Database`].
pub async fn finish(conn: &mut AsyncPgConnection, attempt: &Attempt) -> Result<Ended<()>, Error> {
    let finished = [(attempt, Release::Finished)];
    Ok(only(release_all(conn, attempt.session, &finished).await?))
}

/// Like [`finish`], within a transaction of the session whose
/// [`fence_check`](crate::internal::session::fence_check) passed.
///
/// # Errors
/// [`Error::Database`].
pub async fn finish_fenced(
    conn: &mut AsyncPgConnection,
    attempt: &Attempt,
) -> Result<Ended<()>, Error> {
    let finished = [(attempt, Release::Finished)];
    let ended = release(conn, attempt.session, &finished, Fenced::Yes).await?;
    Ok(only(ended))
}

/// Ends an attempt as canceled, in one statement; a backoff and its interval are kept.
///
/// # Errors
/// [`Error::Database`].
pub async fn cancel(conn: &mut AsyncPgConnection, attempt: &Attempt) -> Result<Ended<()>, Error> {
    let canceled = [(attempt, Release::Canceled)];
    Ok(only(release_all(conn, attempt.session, &canceled).await?))
}

/// Cancels another session's attempt, in the caller's transaction, even if that session's deadline has
/// passed and the janitor has not reclaimed it yet. The session is locked before the item, and waits
/// for an end that is under way; [`Ended::Lost`] if that was faster.
///
/// # Errors
/// [`Error::Database`].
pub async fn cancel_for(
    conn: &mut AsyncPgConnection,
    attempt: &Attempt,
) -> Result<Ended<()>, Error> {
    let canceled = [(attempt, Release::Canceled)];
    let ended = release(conn, attempt.session, &canceled, Fenced::Yes).await?;
    Ok(only(ended))
}

/// Whether the transaction has found the session alive and has its row locked, or need not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fenced {
    Yes,
    No,
}

async fn release(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    releases: &[(&Attempt, Release)],
    fenced: Fenced,
) -> Result<Vec<Ended<()>>, Error> {
    let attempts = Attempts::of(releases.iter().map(|(attempt, _)| *attempt));
    let outcome = |(_, release): &(_, Release)| match release {
        Release::Finished => Outcome::Finished,
        Release::Canceled => Outcome::Canceled,
    };
    let statement = ReleaseAll {
        machines: &attempts.machines,
        processes: &attempts.processes,
        fences: &attempts.fences,
        started_at: &attempts.started_at,
        outcomes: &releases.iter().map(outcome).collect::<Vec<_>>(),
        session,
        fenced: fenced == Fenced::Yes,
    };
    let rows: Vec<(bool, Option<Fence>)> = statement.load(conn).await?;
    let is_alive = rows.iter().any(|(is_alive, _)| *is_alive);
    let ended = rows.into_iter().filter_map(|(_, fence)| Some((fence?, ())));
    Ok(attempts.outcomes(is_alive, &ended.collect()))
}

statement! {
    StillClaimed<'a> = include_str!("../../sql/still_claimed.sql");
    (machine: MachineId => SqlUuid, process: &'a Process => Text, fence: Fence => BigInt, session: SessionId => SqlUuid)
    -> diesel::sql_types::Integer
}

/// The state of an attempt whose end's answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptState {
    /// It is still claimed: the end did not happen.
    Claimed,
    /// It ended, as the history says.
    Ended(Outcome, Option<DateTime<Utc>>),
    /// There is no record of it; history may have been trimmed.
    Unknown,
}

/// Finds out the state of an attempt, and waits for an end that is in flight. Run it in a READ
/// COMMITTED transaction or in autocommit: the second read must see what the wait was for.
///
/// # Errors
/// [`Error::Database`].
pub async fn attempt_state(
    conn: &mut AsyncPgConnection,
    attempt: &Attempt,
) -> Result<AttemptState, Error> {
    let claimed: Option<i32> = StillClaimed {
        machine: attempt.machine,
        process: &attempt.process,
        fence: attempt.fence,
        session: attempt.session,
    }
    .get_result(conn)
    .await
    .optional()?;
    if claimed.is_some() {
        return Ok(AttemptState::Claimed);
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
        return Ok(AttemptState::Unknown);
    };
    let until = crate::backoff::of(conn, attempt.machine, &attempt.process).await?;
    Ok(AttemptState::Ended(
        outcome,
        until.map(|backoff| backoff.until),
    ))
}
