//! Finishing attempts: end, plan and rest in one transaction.
//!
//! A finish always replans its machine, so what was written by plain SQL counts too, and then judges
//! whether the process has changed anything there.

use super::attempt::Attempt;
use super::attempts::{Attempts, Ended, only};
use super::release::finish_pipelined;
use crate::internal::connection::{committing, roll_back};
use crate::internal::notify::Notify;
use crate::internal::plan::{Definitions, replan_pipelined};
use crate::internal::session::begin_fenced_locking;
use crate::statement::statement;
use crate::work::RestCause;
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::join3;
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

/// Whether a finish replans its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replan {
    /// By the workflows' views, as they are now.
    Yes,
    /// The items stay as they were planned, and the finish is judged by them: for a plan that fails.
    No,
}

/// Ends attempts of one session as finished, in one transaction of two round trips: it replans their
/// machines, and lets those rest that are still due or flap. Returns the result for each, in the given
/// order. They end independently: a lost attempt does not affect the others.
///
/// Machines are planned without waiting for their locks. A transaction that has one locked plans it at its
/// own end; whether that machine has to rest is judged at its next finish.
///
/// # Errors
/// [`Error::Database`]; nothing was written then, unless the connection is lost.
pub async fn finish_all(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    finished: &[(&Attempt, Jitter)],
    replan: Replan,
    notify: Notify,
) -> Result<Vec<Ended<Option<Rest>>>, Error> {
    let attempts: Vec<&Attempt> = finished.iter().map(|(attempt, _)| *attempt).collect();
    let machines: Vec<MachineId> = match replan {
        Replan::Yes => attempts.iter().map(|attempt| attempt.machine).collect(),
        Replan::No => Vec::new(),
    };
    let begun = begin_fenced_locking(conn, session, &machines).await;
    let (locked, definitions) = match begun {
        Ok(Some(begun)) => begun,
        Ok(None) => {
            roll_back(conn).await?;
            return Ok(vec![Ended::SessionExpired; finished.len()]);
        }
        Err(error) => return Err(rolled_back(conn, error).await),
    };
    let is_judged = |(attempt, _): &&(&Attempt, Jitter)| {
        replan == Replan::No || locked.binary_search(&attempt.machine).is_ok()
    };
    let judged: Vec<_> = finished.iter().filter(is_judged).copied().collect();
    let last = async |conn: &AsyncPgConnection| {
        let (ended, planned, rests) = join3(
            finish_pipelined(conn, session, &attempts),
            plan(conn, &locked, &definitions, notify),
            rest_pipelined(conn, &judged),
        )
        .await;
        let ended = ended?;
        planned?;
        Ok((ended, rests?))
    };
    let (ended, rests) = committing(conn, last).await?;
    let rest_of = |((attempt, _), ended): (&(&Attempt, Jitter), Ended<()>)| {
        ended.map(|()| rests.get(&attempt.fence).copied())
    };
    Ok(finished.iter().zip(ended).map(rest_of).collect())
}

/// The error, after a transaction that may be open was rolled back.
async fn rolled_back(conn: &mut AsyncPgConnection, error: Error) -> Error {
    if error.kind() != crate::ErrorKind::ConnectionLost {
        // The caller closes a connection that cannot be used any more.
        let _ = roll_back(conn).await;
    }
    error
}

async fn plan(
    conn: &AsyncPgConnection,
    locked: &[MachineId],
    definitions: &Definitions,
    notify: Notify,
) -> Result<(), Error> {
    replan_pipelined(conn, locked, definitions, notify).await
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
    let ended = finish_all(conn, attempt.session, &finished, Replan::Yes, Notify::Off).await?;
    Ok(only(ended))
}

/// Ends an attempt as finished, within a transaction of the session whose
/// [`fence_check`](crate::internal::session::fence_check) passed. The caller plans the machine later in
/// the transaction, and then calls [`judge`].
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
        let planned = plan(conn, machines, definitions, notify);
        let judged = [finished];
        let (planned, rests) =
            futures_util::future::join(planned, rest_pipelined(conn, &judged)).await;
        planned?;
        rests
    };
    let rests = committing(conn, last).await?;
    Ok(rests.get(&finished.0.fence).copied())
}

statement! {
    Judge<'a> = include_str!("../../sql/rest.sql");
    (
        machines: &'a [MachineId] => Array<SqlUuid>, processes: &'a [&'a Process] => Array<Text>,
        fences: &'a [Fence] => Array<BigInt>, permille: &'a [i64] => Array<BigInt>
    ) -> (BigInt, diesel::sql_types::Nullable<Timestamptz>, BigInt, BigInt)
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
    let rest = |(fence, until, unproductive, flapping): (Fence, Option<DateTime<Utc>>, i64, i64)| {
        let cause = RestCause::of(unproductive, flapping);
        let until = until?;
        Some((fence, Rest { until, cause }))
    };
    Ok(rows.into_iter().filter_map(rest).collect())
}
