//! Work: claiming items, and ending what was claimed.

use crate::error::storable;
use crate::schema::{work_attempt, work_item};
use crate::statement::statement;
use crate::{Error, Fence, MachineId, Process, Provider, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::borrow::Cow;
use std::sync::LazyLock;

/// The longest cause kept, in bytes; a longer one is cut and marked.
pub const MAXIMUM_CAUSE_BYTES: usize = 8192;

const CUT_MARK: &str = " … [cut]";

/// What a claim got.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Claimed {
    /// The machine.
    pub machine: MachineId,
    /// The claim's fence.
    pub fence: Fence,
    /// When the claim was made, by the database's clock.
    pub started_at: DateTime<Utc>,
    /// How many times in a row the process has failed on the machine.
    pub failures: i64,
    /// The interval of the backoff it is coming out of, in seconds.
    pub previous_interval: Option<i64>,
}

/// Which attempt is to be ended: every end is keyed on all of these and changes exactly one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The machine.
    pub machine: MachineId,
    /// The process.
    pub process: Process,
    /// The session that holds it.
    pub session: SessionId,
    /// The claim's fence.
    pub fence: Fence,
    /// When the claim was made.
    pub started_at: DateTime<Utc>,
}

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

type ClaimColumns = (
    Nullable<SqlUuid>,
    Nullable<BigInt>,
    Nullable<Timestamptz>,
    Nullable<BigInt>,
    Nullable<BigInt>,
);

statement! {
    ClaimOfProvider<'a> = CLAIM;
    (process: &'a Process => Text, provider: &'a Provider => Text, session: SessionId => SqlUuid, limit: i64 => BigInt)
    -> (Bool, ClaimColumns)
}

statement! {
    ClaimOfAny<'a> = &CLAIM_OF_ANY;
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>, session: SessionId => SqlUuid, limit: i64 => BigInt)
    -> (Bool, ClaimColumns)
}

/// The one claim query.
const CLAIM: &str = include_str!("sql/claim.sql");

/// The claim query for all providers. A text of its own, because a condition that serves both cases
/// would keep the generic plan from using the index for one provider.
static CLAIM_OF_ANY: LazyLock<String> =
    LazyLock::new(|| CLAIM.replace("i.provider = $2", "$2::text IS NULL"));

type ClaimRow = (
    bool,
    (
        Option<MachineId>,
        Option<Fence>,
        Option<DateTime<Utc>>,
        Option<i64>,
        Option<i64>,
    ),
);

/// Claims up to `limit` due items of a process for a session; `None` when the session has expired.
///
/// One statement, meant to run in its own transaction at READ COMMITTED. That level is safe here
/// because every condition of a claim is a column of the row that is locked, and a locked row is
/// tested again in its newest version; what was looked up in other tables would be stale.
///
/// An empty answer does not prove that nothing is due: items that others have locked are skipped.
/// Without a provider the whole queue of the process is sorted, so the cost grows with what is due.
///
/// # Errors
/// [`Error::Database`]; a unique violation on `work_item_lane` ([`crate::Failure::LaneTaken`])
/// means that a rival was faster on one of the machines: ask again.
pub async fn claim(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: Option<&Provider>,
    session: SessionId,
    limit: i64,
) -> Result<Option<Vec<Claimed>>, Error> {
    let rows: Vec<ClaimRow> = match provider {
        Some(provider) => {
            ClaimOfProvider {
                process,
                provider,
                session,
                limit,
            }
            .load(conn)
            .await?
        }
        None => {
            ClaimOfAny {
                process,
                provider,
                session,
                limit,
            }
            .load(conn)
            .await?
        }
    };
    let claimed: Vec<Claimed> = rows
        .iter()
        .filter_map(
            |(_, (machine, fence, started_at, failures, previous_interval))| {
                Some(Claimed {
                    machine: (*machine)?,
                    fence: (*fence)?,
                    started_at: (*started_at)?,
                    failures: (*failures)?,
                    previous_interval: *previous_interval,
                })
            },
        )
        .collect();
    // Work of a session that expired within the statement is still returned: the caller must know
    // of it to end it.
    let lives = rows.iter().any(|(lives, _)| *lives) || !claimed.is_empty();
    Ok(lives.then_some(claimed))
}

statement! {
    ClaimMachine<'a> = include_str!("sql/claim_machine.sql");
    (machine: MachineId => SqlUuid, process: &'a Process => Text, session: SessionId => SqlUuid)
    -> (SqlUuid, BigInt, Timestamptz, BigInt, Nullable<BigInt>)
}

/// Claims one machine that the caller has locked and whose gates it has seen open; `None` when a
/// rival was faster.
///
/// # Errors
/// [`Error::Database`]; [`crate::Failure::LaneTaken`] when a rival in the lane was faster.
pub async fn claim_machine(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: &Process,
    session: SessionId,
) -> Result<Option<Claimed>, Error> {
    Ok(ClaimMachine {
        machine,
        process,
        session,
    }
    .get_result(conn)
    .await
    .optional()?)
}

/// What stands between a process and a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nothing.
    Open,
    /// Somebody holds a process of the same lane.
    LaneTaken,
    /// The process is backing off there.
    BackedOff {
        /// To when.
        until: DateTime<Utc>,
    },
    /// The machine is on hold.
    OnHold,
    /// There is no such machine.
    Unknown,
}

statement! {
    Gates<'a> = include_str!("sql/gates.sql");
    (process: &'a Process => Text, machines: &'a [MachineId] => Array<SqlUuid>)
    -> (SqlUuid, Bool, Bool, Bool, Nullable<Timestamptz>)
}

/// The gates of `machines` for a process, in the order given.
///
/// # Errors
/// [`Error::Database`].
pub async fn gates(
    conn: &mut AsyncPgConnection,
    process: &Process,
    machines: &[MachineId],
) -> Result<Vec<(MachineId, Gate)>, Error> {
    type Row = (MachineId, bool, bool, bool, Option<DateTime<Utc>>);
    let rows: Vec<Row> = Gates { process, machines }.load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|(machine, known, on_hold, lane_taken, backoff_until)| {
            let gate = match (known, on_hold, lane_taken, backoff_until) {
                (false, ..) => Gate::Unknown,
                (_, true, ..) => Gate::OnHold,
                (_, _, true, _) => Gate::LaneTaken,
                (_, _, _, Some(until)) => Gate::BackedOff { until },
                _ => Gate::Open,
            };
            (machine, gate)
        })
        .collect())
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
    Fail<'a> = include_str!("sql/fail.sql");
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
    Finish<'a> = include_str!("sql/finish.sql");
    (session: SessionId => SqlUuid, process: &'a Process => Text, machine: MachineId => SqlUuid, fence: Fence => BigInt, started_at: DateTime<Utc> => Timestamptz)
    -> (Bool, Bool)
}

/// Ends an attempt as finished, clearing its backoff and failures, in one statement.
///
/// # Errors
/// [`Error::Database`].
pub async fn finish(conn: &mut AsyncPgConnection, attempt: &Attempt) -> Result<Ended<()>, Error> {
    let Attempt {
        machine,
        process,
        session,
        fence,
        started_at,
    } = attempt;
    let statement = Finish {
        session: *session,
        process,
        machine: *machine,
        fence: *fence,
        started_at: *started_at,
    };
    Ok(ended(statement.get_result(conn).await?))
}

statement! {
    Cancel<'a> = include_str!("sql/cancel.sql");
    (session: SessionId => SqlUuid, process: &'a Process => Text, machine: MachineId => SqlUuid, fence: Fence => BigInt, started_at: DateTime<Utc> => Timestamptz)
    -> (Bool, Bool)
}

/// Ends an attempt without a verdict, in one statement; a backoff and its interval survive.
///
/// # Errors
/// [`Error::Database`].
pub async fn cancel(conn: &mut AsyncPgConnection, attempt: &Attempt) -> Result<Ended<()>, Error> {
    let Attempt {
        machine,
        process,
        session,
        fence,
        started_at,
    } = attempt;
    let statement = Cancel {
        session: *session,
        process,
        machine: *machine,
        fence: *fence,
        started_at: *started_at,
    };
    Ok(ended(statement.get_result(conn).await?))
}

fn ended((lives, ended): (bool, bool)) -> Ended<()> {
    match (lives, ended) {
        (_, true) => Ended::Done(()),
        (true, false) => Ended::Lost,
        (false, false) => Ended::SessionExpired,
    }
}

statement! {
    HeldStill<'a> = include_str!("sql/ended_how.sql");
    (machine: MachineId => SqlUuid, process: &'a Process => Text, fence: Fence => BigInt, session: SessionId => SqlUuid)
    -> diesel::sql_types::Integer
}

/// What became of an attempt whose end's answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is still held: the end did not happen.
    Held,
    /// It ended, as the history says.
    Ended(crate::history::Outcome, Option<DateTime<Utc>>),
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
    let ended: Option<crate::history::Outcome> = work_attempt::table
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

/// The attempts a session holds, in the lock order of items.
///
/// # Errors
/// [`Error::Database`].
pub async fn held_by(
    conn: &mut AsyncPgConnection,
    session: SessionId,
) -> Result<Vec<Attempt>, Error> {
    let rows: Vec<(MachineId, Process, Fence, DateTime<Utc>)> = work_item::table
        .filter(work_item::session_id.eq(session))
        .order((work_item::machine_id, work_item::process))
        .select((
            work_item::machine_id,
            work_item::process,
            work_item::fence,
            work_item::started_at.assume_not_null(),
        ))
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(machine, process, fence, started_at)| Attempt {
            machine,
            process,
            session,
            fence,
            started_at,
        })
        .collect())
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

    #[test]
    fn the_claim_for_any_provider_differs_only_in_the_provider() {
        assert_eq!(CLAIM.matches("i.provider = $2").count(), 2);
        assert_eq!(CLAIM_OF_ANY.matches("$2::text IS NULL").count(), 2);
    }
}
