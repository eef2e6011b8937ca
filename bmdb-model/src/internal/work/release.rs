//! Ending attempts without a failure: canceled ones, and the first half of a finish.

use super::attempt::Attempt;
use super::attempts::{Attempts, Ended, only};
use crate::column::Column;
use crate::history::Outcome;
use crate::internal::plan::with_quick_finishes;
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

statement! {
    ReleaseAll<'a> = &RELEASE;
    (
        machines: &'a [MachineId] => Array<SqlUuid>, processes: &'a [&'a Process] => Array<Text>,
        fences: &'a [Fence] => Array<BigInt>, started_at: &'a [DateTime<Utc>] => Array<Timestamptz>,
        outcomes: &'a [Outcome] => Array<Text>, rests: &'a [Option<i64>] => Array<Nullable<BigInt>>,
        causes: &'a [Option<Cow<'a, str>>] => Array<Nullable<Text>>, folds: &'a [bool] => Array<Bool>,
        session: SessionId => SqlUuid, fenced: bool => Bool
    ) -> (Bool, Nullable<BigInt>)
}

static RELEASE: LazyLock<String> =
    LazyLock::new(|| with_quick_finishes(include_str!("../../sql/release.sql")));

/// The longest rest or pause that an attempt can ask for, in milliseconds: ten years.
const LONGEST_REST: i64 = 10 * 366 * 86_400_000;

/// An end without a result: a backoff, its interval and all counts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cancel<'a> {
    /// For how long the machine rests, in whole milliseconds and at most ten years. None at all: nothing
    /// but the plan and an earlier backoff keep it from being claimed again at once.
    pub rest: Option<Duration>,
    /// Why, for people. Longer than [`Column::CAUSE`](crate::column::Column::CAUSE) it is cut with a
    /// mark.
    pub cause: Option<&'a str>,
    /// Whether a cancellation that equals the one before is folded into that one's history row.
    pub fold: bool,
}

impl Cancel<'_> {
    fn rest_milliseconds(&self) -> Option<i64> {
        self.rest
            .filter(|rest| !rest.is_zero())
            .map(whole_milliseconds)
    }
}

/// In whole milliseconds, rounded up, and bounded.
pub(super) fn whole_milliseconds(time: Duration) -> i64 {
    let whole = time.as_nanos().div_ceil(1_000_000);
    i64::try_from(whole).map_or(LONGEST_REST, |time| time.min(LONGEST_REST))
}

/// Ends attempts of one session as canceled, in one statement. Returns the result for each, in the
/// given order. They end independently: a lost attempt does not affect the others.
///
/// # Errors
/// [`Error::Database`]; nothing was written then.
pub async fn cancel_all(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    canceled: &[(&Attempt, Cancel<'_>)],
) -> Result<Vec<Ended<()>>, Error> {
    cancel_each(conn, session, canceled, Fenced::No).await
}

/// Ends an attempt as canceled, in one statement; a backoff and its interval are kept.
///
/// # Errors
/// [`Error::Database`].
pub async fn cancel(conn: &mut AsyncPgConnection, attempt: &Attempt) -> Result<Ended<()>, Error> {
    let canceled = [(attempt, Cancel::default())];
    Ok(only(cancel_all(conn, attempt.session, &canceled).await?))
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
    let canceled = [(attempt, Cancel::default())];
    let ended = cancel_each(conn, attempt.session, &canceled, Fenced::Yes).await?;
    Ok(only(ended))
}

async fn cancel_each(
    conn: &AsyncPgConnection,
    session: SessionId,
    canceled: &[(&Attempt, Cancel<'_>)],
    fenced: Fenced,
) -> Result<Vec<Ended<()>>, Error> {
    let releases: Vec<Release<'_>> = canceled
        .iter()
        .map(|(attempt, cancel)| Release {
            attempt,
            outcome: Outcome::Canceled,
            rest_milliseconds: cancel.rest_milliseconds(),
            cause: cancel.cause.map(|cause| Column::CAUSE.recorded(cause)),
            fold: cancel.fold,
        })
        .collect();
    release_pipelined(conn, session, &releases, fenced).await
}

/// Ends attempts as finished, which clears their backoffs and failures, in a transaction whose fence
/// check has found the session alive and has its row locked.
pub(super) async fn finish_pipelined(
    conn: &AsyncPgConnection,
    session: SessionId,
    attempts: &[&Attempt],
) -> Result<Vec<Ended<()>>, Error> {
    let releases: Vec<Release<'_>> = attempts
        .iter()
        .map(|attempt| Release {
            attempt,
            outcome: Outcome::Finished,
            rest_milliseconds: None,
            cause: None,
            fold: false,
        })
        .collect();
    release_pipelined(conn, session, &releases, Fenced::Yes).await
}

struct Release<'a> {
    attempt: &'a Attempt,
    outcome: Outcome,
    rest_milliseconds: Option<i64>,
    cause: Option<Cow<'a, str>>,
    fold: bool,
}

/// Whether the transaction has found the session alive and has its row locked, or need not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fenced {
    Yes,
    No,
}

async fn release_pipelined(
    mut conn: &AsyncPgConnection,
    session: SessionId,
    releases: &[Release<'_>],
    fenced: Fenced,
) -> Result<Vec<Ended<()>>, Error> {
    let attempts = Attempts::of(releases.iter().map(|release| release.attempt));
    let all = || releases.iter();
    let statement = ReleaseAll {
        machines: &attempts.machines,
        processes: &attempts.processes,
        fences: &attempts.fences,
        started_at: &attempts.started_at,
        outcomes: &all().map(|r| r.outcome).collect::<Vec<_>>(),
        rests: &all().map(|r| r.rest_milliseconds).collect::<Vec<_>>(),
        causes: &all().map(|r| r.cause.clone()).collect::<Vec<_>>(),
        folds: &all().map(|r| r.fold).collect::<Vec<_>>(),
        session,
        fenced: fenced == Fenced::Yes,
    };
    let rows: Vec<(bool, Option<Fence>)> = statement.load(&mut conn).await?;
    let is_alive = rows.iter().any(|(is_alive, _)| *is_alive);
    let ended = rows.into_iter().filter_map(|(_, fence)| Some((fence?, ())));
    Ok(attempts.outcomes(is_alive, &ended.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_in_whole_milliseconds_and_bounded() {
        let rest = |rest| {
            Cancel {
                rest: Some(rest),
                ..Cancel::default()
            }
            .rest_milliseconds()
        };
        assert_eq!(rest(Duration::ZERO), None);
        assert_eq!(rest(Duration::from_nanos(1)), Some(1));
        assert_eq!(rest(Duration::from_secs(300)), Some(300_000));
        assert_eq!(rest(Duration::MAX), Some(LONGEST_REST));
    }
}
