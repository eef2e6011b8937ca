//! Judging finishes by the plan: whether the process has changed anything on the machine, or it rests.

use super::attempt::Attempt;
use super::attempts::{Attempts, Ended, only};
use super::release::finish_pipelined;
use crate::internal::connection::committing;
use crate::internal::notify::Notify;
use crate::internal::plan::{Definitions, replan_once_pipelined};
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::work::RestCause;
use crate::{Error, Fence, MachineId, Process, TagWrites};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::join;
use std::collections::HashMap;

/// How much of a tenth a rest is extended by, in thousandths of it: chosen by the caller, at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Jitter(u16);

impl Jitter {
    /// In thousandths.
    pub(super) fn permille(self) -> i64 {
        self.0.into()
    }

    /// Made from a random number.
    #[must_use]
    pub fn from_random(random: u64) -> Self {
        Self(u16::try_from(random % 1000).unwrap_or(0))
    }
}

/// What an end leaves its machine with, if it may not be claimed again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// When it may be claimed again.
    pub until: DateTime<Utc>,
    /// Why it rests although nothing has failed; `None` for a backoff.
    pub cause: Option<RestCause>,
}

/// An attempt to end as finished, and what is written with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Finish<'a> {
    pub attempt: &'a Attempt,
    pub jitter: Jitter,
    /// Checked before ([`TagWrites::check`]).
    pub writes: &'a TagWrites,
}

/// Ends an attempt as finished, within a transaction of the session whose
/// [`fence_check`](crate::internal::session::fence_check) passed. The caller plans the machine later in
/// the transaction, and ends it with [`replan_judge_and_commit`] or [`judge_and_commit`].
///
/// # Errors
/// [`Error::Database`].
pub async fn finish_fenced(
    conn: &mut AsyncPgConnection,
    attempt: &Attempt,
) -> Result<Ended<()>, Error> {
    Ok(only(
        finish_pipelined(conn, attempt.session, &[attempt]).await?,
    ))
}

/// Replans machines, judges a finish of this transaction by the plan, and commits, in one round trip.
///
/// # Errors
/// As [`replan_and_commit`](crate::internal::plan::replan_and_commit).
pub async fn replan_judge_and_commit(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    definitions: &Definitions,
    notify: Notify,
    finish: Finish<'_>,
) -> Result<Option<Rest>, Error> {
    let last = async |conn: &AsyncPgConnection| {
        let planned = replan_once_pipelined(conn, machines, definitions, notify);
        let finishes = [finish];
        let (planned, rests) = join(planned, rest_pipelined(conn, &finishes)).await;
        planned?;
        rests
    };
    let rests = committing(conn, last).await?;
    Ok(rests.get(&finish.attempt.fence).copied())
}

/// Like [`replan_judge_and_commit`], for machines that are planned.
///
/// # Errors
/// [`Error::Database`], and then everything was rolled back; otherwise as
/// [`commit`](crate::internal::connection::commit).
pub async fn judge_and_commit(
    conn: &mut AsyncPgConnection,
    finish: Finish<'_>,
) -> Result<Option<Rest>, Error> {
    let judge = async |conn: &AsyncPgConnection| rest_pipelined(conn, &[finish]).await;
    let rests = committing(conn, judge).await?;
    Ok(rests.get(&finish.attempt.fence).copied())
}

statement! {
    Judge<'a> = concat!(
        include_str!("../../sql/finish/finished.sql"),
        include_str!("../../sql/finish/judge.sql"),
        include_str!("../../sql/finish/rest.sql"),
    );
    (
        machines: &'a [MachineId] => Array<SqlUuid>, processes: &'a [&'a Process] => Array<Text>,
        fences: &'a [Fence] => Array<BigInt>, permille: &'a [i64] => Array<BigInt>
    ) -> (BigInt, Nullable<Timestamptz>, BigInt, BigInt)
}

/// An end's fence, when its machine may be claimed again, and how many finishes in a row left the machine due or came in
/// quick succession.
pub(super) type RestRow = (Fence, Option<DateTime<Utc>>, i64, i64);

pub(super) fn rest_of((fence, until, unproductive, flapping): RestRow) -> (Fence, Option<Rest>) {
    let cause = RestCause::of(unproductive, flapping);
    (fence, until.map(|until| Rest { until, cause }))
}

/// The rests that finishes of this transaction begin, by fence.
pub(super) async fn rest_pipelined(
    mut conn: &AsyncPgConnection,
    finishes: &[Finish<'_>],
) -> Result<HashMap<Fence, Rest>, Error> {
    if finishes.is_empty() {
        return Ok(HashMap::new());
    }
    let attempts = Attempts::of(finishes.iter().map(|f| f.attempt));
    let permille: Vec<i64> = finishes.iter().map(|f| f.jitter.permille()).collect();
    let judge = Judge {
        machines: &attempts.machines,
        processes: &attempts.processes,
        fences: &attempts.fences,
        permille: &permille,
    };
    let rows: Vec<RestRow> = judge.load(&mut conn).await?;
    let rests = rows.into_iter().map(rest_of);
    Ok(rests
        .filter_map(|(fence, rest)| Some((fence, rest?)))
        .collect())
}
