//! Finishing attempts: end, plan and rest in one transaction.
//!
//! A finish always replans its machine, so what was written by plain SQL counts too, and then judges
//! whether the process has changed anything there.

use super::attempt::Attempt;
use super::attempts::{Attempts, Ended, only};
use super::release::finish_pipelined;
use crate::internal::connection::{committing, roll_back};
use crate::internal::notify::Notify;
use crate::internal::plan::{Definitions, Unplanned, replan_carefully, replan_pipelined};
use crate::internal::session::begin_fenced_locking;
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::work::RestCause;
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::{join, join3};
use std::collections::HashMap;

/// How much of a tenth a rest is extended by, in thousandths of it: chosen by the caller, at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Jitter(u16);

impl Jitter {
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

/// How a finish replans its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replan {
    /// By all workflows, in one round trip with the commit.
    AtOnce,
    /// As [`replan_carefully`] does, in round trips of its own.
    Carefully,
    /// Not at all: the finish is judged by the plan that there is.
    No,
}

/// What became of several finishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The result for each, in the given order.
    pub ended: Vec<Ended<Option<Rest>>>,
    /// What could not be planned carefully.
    pub unplanned: Vec<Unplanned>,
}

/// Ends attempts of one session as finished, in one transaction of two round trips: it replans their
/// machines, and lets those rest that are still due or flap. They end independently: a lost attempt does
/// not affect the others.
///
/// Machines are planned without waiting for their locks. A transaction that has one locked plans it at its
/// own end; until then its finish is judged by the plan that there is, or it could be claimed again and again
/// for as long as that transaction takes.
///
/// # Errors
/// [`Error::Database`]; nothing was written then, unless the connection is lost.
pub async fn finish_all(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    finished: &[(&Attempt, Jitter)],
    replan: Replan,
    notify: Notify,
) -> Result<Finished, Error> {
    let attempts: Vec<&Attempt> = finished.iter().map(|(attempt, _)| *attempt).collect();
    let machines: Vec<MachineId> = match replan {
        Replan::AtOnce | Replan::Carefully => attempts.iter().map(|a| a.machine).collect(),
        Replan::No => Vec::new(),
    };
    let (locked, definitions) = match begin_fenced_locking(conn, session, &machines).await {
        Ok(Some(begun)) => begun,
        Ok(None) => {
            roll_back(conn).await?;
            return Ok(Finished {
                ended: vec![Ended::SessionExpired; finished.len()],
                unplanned: Vec::new(),
            });
        }
        Err(error) => return Err(rolled_back(conn, error).await),
    };
    let (ended, unplanned, rests) = if replan == Replan::Carefully {
        let planned = async {
            let ended = finish_pipelined(conn, session, &attempts).await?;
            let unplanned = replan_carefully(conn, &locked, &definitions, notify).await?;
            Ok((ended, unplanned))
        };
        let (ended, unplanned) = match planned.await {
            Ok(planned) => planned,
            Err(error) => return Err(rolled_back(conn, error).await),
        };
        let judge = async |conn: &AsyncPgConnection| rest_pipelined(conn, finished).await;
        (ended, unplanned, committing(conn, judge).await?)
    } else {
        let last = async |conn: &AsyncPgConnection| {
            let (ended, planned, rests) = join3(
                finish_pipelined(conn, session, &attempts),
                replan_pipelined(conn, &locked, &definitions, notify),
                rest_pipelined(conn, finished),
            )
            .await;
            let ended = ended?;
            planned?;
            Ok((ended, Vec::new(), rests?))
        };
        committing(conn, last).await?
    };
    let rest_of = |((attempt, _), ended): (&(&Attempt, Jitter), Ended<()>)| {
        ended.map(|()| rests.get(&attempt.fence).copied())
    };
    Ok(Finished {
        ended: finished.iter().zip(ended).map(rest_of).collect(),
        unplanned,
    })
}

/// The error, after a transaction that may be open was rolled back.
async fn rolled_back(conn: &mut AsyncPgConnection, error: Error) -> Error {
    if error.kind() != crate::ErrorKind::ConnectionLost {
        // The caller closes a connection that cannot be used any more.
        let _ = roll_back(conn).await;
    }
    error
}

/// Like [`finish_all`] for one attempt.
///
/// # Errors
/// As [`finish_all`].
pub async fn finish(
    conn: &mut AsyncPgConnection,
    attempt: &Attempt,
) -> Result<Ended<Option<Rest>>, Error> {
    let finished = [(attempt, Jitter::default())];
    let (session, replan) = (attempt.session, Replan::AtOnce);
    let finished = finish_all(conn, session, &finished, replan, Notify::Off).await?;
    Ok(only(finished.ended))
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
    finished: (&Attempt, Jitter),
) -> Result<Option<Rest>, Error> {
    let last = async |conn: &AsyncPgConnection| {
        let planned = replan_pipelined(conn, machines, definitions, notify);
        let judged = [finished];
        let (planned, rests) = join(planned, rest_pipelined(conn, &judged)).await;
        planned?;
        rests
    };
    let rests = committing(conn, last).await?;
    Ok(rests.get(&finished.0.fence).copied())
}

/// Like [`replan_judge_and_commit`], for machines that are planned.
///
/// # Errors
/// [`Error::Database`], and then everything was rolled back; otherwise as
/// [`commit`](crate::internal::connection::commit).
pub async fn judge_and_commit(
    conn: &mut AsyncPgConnection,
    finished: (&Attempt, Jitter),
) -> Result<Option<Rest>, Error> {
    let judge = async |conn: &AsyncPgConnection| rest_pipelined(conn, &[finished]).await;
    let rests = committing(conn, judge).await?;
    Ok(rests.get(&finished.0.fence).copied())
}

statement! {
    Judge<'a> = include_str!("../../sql/rest.sql");
    (
        machines: &'a [MachineId] => Array<SqlUuid>, processes: &'a [&'a Process] => Array<Text>,
        fences: &'a [Fence] => Array<BigInt>, permille: &'a [i64] => Array<BigInt>
    ) -> (BigInt, Nullable<Timestamptz>, BigInt, BigInt)
}

/// The rests that finishes of this transaction begin, by fence.
async fn rest_pipelined(
    mut conn: &AsyncPgConnection,
    finished: &[(&Attempt, Jitter)],
) -> Result<HashMap<Fence, Rest>, Error> {
    if finished.is_empty() {
        return Ok(HashMap::new());
    }
    let attempts = Attempts::of(finished.iter().map(|(attempt, _)| *attempt));
    let judge = Judge {
        machines: &attempts.machines,
        processes: &attempts.processes,
        fences: &attempts.fences,
        permille: &finished
            .iter()
            .map(|(_, jitter)| jitter.0.into())
            .collect::<Vec<_>>(),
    };
    let rows: Vec<(Fence, Option<DateTime<Utc>>, i64, i64)> = judge.load(&mut conn).await?;
    let rest =
        |(fence, until, unproductive, flapping): (Fence, Option<DateTime<Utc>>, i64, i64)| {
            let cause = RestCause::of(unproductive, flapping);
            let until = until?;
            Some((fence, Rest { until, cause }))
        };
    Ok(rows.into_iter().filter_map(rest).collect())
}
