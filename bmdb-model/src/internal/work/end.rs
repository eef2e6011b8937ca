//! Ending attempts as failed, and finding out how an attempt ended.

use super::attempt::Attempt;
use super::attempts::{Attempts, Ended, only};
use super::judge::Rest;
use crate::column::Column;
use crate::history::Outcome;
use crate::schema::work_attempt;
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::work::RestCause;
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::borrow::Cow;

/// A failure to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt<'a> {
    /// For how many seconds the machine backs off.
    pub delay_seconds: u32,
    /// The interval without jitter from which the next one is computed, in seconds.
    pub interval_seconds: u32,
    /// Why it failed, for people. Longer than [`Column::CAUSE`](crate::column::Column::CAUSE) it is
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
/// [`Error::Database`]; nothing was written then.
pub async fn fail_all(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    failures: &[(&Attempt, FailedAttempt<'_>)],
) -> Result<Vec<Ended<DateTime<Utc>>>, Error> {
    let causes: Vec<_> = failures
        .iter()
        .map(|(_, failed)| Column::CAUSE.recorded(failed.cause))
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
        causes: &causes,
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
/// [`Error::Database`].
pub async fn fail(
    conn: &mut AsyncPgConnection,
    attempt: &Attempt,
    failed: &FailedAttempt<'_>,
) -> Result<Ended<DateTime<Utc>>, Error> {
    let ended = fail_all(conn, attempt.session, &[(attempt, failed.clone())]).await?;
    Ok(only(ended))
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
    /// It ended, as the history says; the item says what it has left.
    Ended(Outcome, Option<Rest>),
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
    let left: Option<(DateTime<Utc>, i64, i64)> = Left {
        machine: attempt.machine,
        process: &attempt.process,
    }
    .get_result(conn)
    .await
    .optional()?;
    let rest = left.map(|(until, unproductive, flapping)| Rest {
        until,
        cause: match outcome {
            Outcome::Finished => RestCause::of(unproductive, flapping),
            _ => None,
        },
    });
    Ok(AttemptState::Ended(outcome, rest))
}

statement! {
    Left<'a> = "SELECT backoff_until, unproductive, flapping FROM work_item \
         WHERE machine_id = $1 AND process = $2 AND backoff_until IS NOT NULL";
    (machine: MachineId => SqlUuid, process: &'a Process => Text) -> (Timestamptz, BigInt, BigInt)
}
