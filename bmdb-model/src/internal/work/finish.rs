//! Finishing attempts: writes, ends, plan and rests in one transaction.
//!
//! A finish always replans its machine, so what was written by plain SQL counts too, and then judges
//! whether the process has changed anything there.

use super::attempt::Attempt;
use super::attempts::{Attempts, Ended, only};
use super::finish_lock::{Locked, Waiting, begin_locking};
use super::release::finish_pipelined;
use crate::internal::connection::{committing, roll_back};
use crate::internal::notify::Notify;
use crate::internal::plan::{
    Definitions, KnownDefinitions, PlanAndFinish, Unplanned, replan_carefully,
    replan_once_pipelined,
};
use crate::internal::tag_writes::write_all_pipelined;
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::work::RestCause;
use crate::{Error, Fence, MachineId, Process, SessionId, TagWrites};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::{join, join4};
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

/// An attempt to end as finished, and what is written with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Finish<'a> {
    pub attempt: &'a Attempt,
    pub jitter: Jitter,
    /// Checked before ([`TagWrites::check`]).
    pub writes: &'a TagWrites,
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

/// How attempts are finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct How {
    pub replan: Replan,
    pub waiting: Waiting,
    pub notify: Notify,
}

impl Default for How {
    fn default() -> Self {
        Self {
            replan: Replan::AtOnce,
            waiting: Waiting::No,
            notify: Notify::Off,
        }
    }
}

/// What became of several finishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The result for each, in the given order.
    pub ended: Vec<Ended<Option<Rest>>>,
    /// What could not be planned carefully.
    pub unplanned: Vec<Unplanned>,
}

/// Ends attempts of one session as finished, in one transaction of two round trips: it writes their tags,
/// replans their machines, and lets those rest that are still due or flap. The attempts end independently: a lost
/// one does not affect the others, and nothing of it is written.
///
/// Each item is written once, with its end and its plan. Unless it waits for them, machines are locked only if they
/// are free. A transaction that has one locked plans it at its own end; until then a finish without writes is judged
/// by the plan that there is, or the machine could be claimed again and again for as long as that transaction takes.
/// A finish with writes is [`Ended::Busy`], and so is one whose item is locked and not awaited.
///
/// READ COMMITTED: each statement sees what was committed before it began, so the plan, which follows the
/// locks, includes the tags of every transaction that had a machine locked before. Only what is locked is
/// decided by: an attempt that the session has when its item is locked cannot end otherwise before the commit.
///
/// # Errors
/// [`Error::ProviderIdTaken`]; [`Error::Database`]. Nothing was written then, unless the connection is lost.
pub async fn finish_all(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    finishes: &[Finish<'_>],
    known: &KnownDefinitions,
    how: How,
) -> Result<Finished, Error> {
    let How { replan, notify, .. } = how;
    let begun = async {
        match begin_locking(conn, session, finishes, how.waiting).await? {
            None => Ok(None),
            Some(locked) => {
                let definitions = known.of(conn, locked.version).await?;
                Ok(Some((locked, definitions)))
            }
        }
    };
    let (locked, definitions) = match begun.await {
        Ok(Some(begun)) => begun,
        Ok(None) => {
            roll_back(conn).await?;
            return Ok(Finished {
                ended: vec![Ended::SessionExpired; finishes.len()],
                unplanned: Vec::new(),
            });
        }
        Err(error) => return Err(rolled_back(conn, error).await),
    };
    let batch = Batch::new(finishes, &locked, &definitions, replan);
    if batch.is_empty() {
        roll_back(conn).await?;
        let ended = finishes.iter().map(|f| batch.result(f, &HashMap::new()));
        return Ok(Finished {
            ended: ended.collect(),
            unplanned: Vec::new(),
        });
    }
    let (rests, unplanned) = match replan {
        Replan::Carefully => {
            batch
                .end_carefully(conn, session, &definitions, notify)
                .await?
        }
        Replan::AtOnce | Replan::No => {
            let rests = batch.end(conn, session, &definitions, notify).await?;
            (rests, Vec::new())
        }
    };
    let ended = finishes.iter().map(|f| batch.result(f, &rests));
    Ok(Finished {
        ended: ended.collect(),
        unplanned,
    })
}

/// The attempts that a transaction ends.
struct Batch<'a> {
    /// In a statement with the plan.
    planned: Vec<Finish<'a>>,
    /// In one of their own, because their process has no workflow or their machine is not planned.
    unplanned: Vec<Finish<'a>>,
    /// Nothing is written for them: another transaction has locked their items, or their machines.
    busy: Vec<Fence>,
    writes: Vec<(MachineId, &'a TagWrites)>,
    /// The machines to plan, in id order.
    machines: Vec<MachineId>,
}

impl<'a> Batch<'a> {
    fn new(
        finishes: &[Finish<'a>],
        locked: &Locked,
        definitions: &Definitions,
        replan: Replan,
    ) -> Self {
        let mut batch = Self {
            planned: Vec::new(),
            unplanned: Vec::new(),
            busy: Vec::new(),
            writes: Vec::new(),
            machines: Vec::new(),
        };
        for finish in finishes {
            let attempt = finish.attempt;
            let is_locked = locked.machines.contains(&attempt.machine);
            if !locked.attempts.contains(&attempt.fence) {
                if locked.busy.contains(&attempt.fence) {
                    batch.busy.push(attempt.fence);
                }
                continue;
            }
            if !finish.writes.is_empty() {
                if !is_locked {
                    batch.busy.push(attempt.fence);
                    continue;
                }
                batch.writes.push((attempt.machine, finish.writes));
            }
            let is_planned = is_locked && replan != Replan::No;
            if is_planned {
                batch.machines.push(attempt.machine);
            }
            match is_planned && replan == Replan::AtOnce && definitions.has(&attempt.process) {
                true => batch.planned.push(*finish),
                false => batch.unplanned.push(*finish),
            }
        }
        batch.machines.sort_unstable();
        batch.machines.dedup();
        batch
    }

    fn is_empty(&self) -> bool {
        self.planned.is_empty() && self.unplanned.is_empty()
    }

    /// In one round trip.
    async fn end(
        &self,
        conn: &mut AsyncPgConnection,
        session: SessionId,
        definitions: &Definitions,
        notify: Notify,
    ) -> Result<HashMap<Fence, Option<Rest>>, Error> {
        // Nothing here can fail before it is sent: the writes have been checked, and all else is from the
        // database.
        let last = async |conn: &AsyncPgConnection| {
            let (written, unplanned, planned, rests) = join4(
                write_all_pipelined(conn, &self.writes),
                end_unplanned(conn, session, &self.unplanned),
                self.plan_and_end(conn, session, definitions, notify),
                rest_pipelined(conn, &self.unplanned),
            )
            .await;
            written?;
            Ok((unplanned?, planned?, rests?))
        };
        let (mut ended, planned, rests) = committing(conn, last).await?;
        ended.extend(planned);
        ended.extend(rests.into_iter().map(|(fence, rest)| (fence, Some(rest))));
        Ok(ended)
    }

    /// In the statement that plans their machines.
    async fn plan_and_end(
        &self,
        mut conn: &AsyncPgConnection,
        session: SessionId,
        definitions: &Definitions,
        notify: Notify,
    ) -> Result<HashMap<Fence, Option<Rest>>, Error> {
        if self.machines.is_empty() {
            return Ok(HashMap::new());
        }
        let planned = || self.planned.iter();
        let fences: Vec<Fence> = planned().map(|f| f.attempt.fence).collect();
        let permille: Vec<i64> = planned().map(|f| f.jitter.0.into()).collect();
        let plan = (&*self.machines, definitions, notify);
        let began: Vec<DateTime<Utc>> = planned().map(|f| f.attempt.started_at).collect();
        let statement = PlanAndFinish::new(plan, session, (&fences, &permille, &began));
        let rows: Vec<RestRow> = statement.load(&mut conn).await?;
        Ok(rows.into_iter().map(rest_of).collect())
    }

    /// Without the workflows that fail, in several round trips.
    async fn end_carefully(
        &self,
        conn: &mut AsyncPgConnection,
        session: SessionId,
        definitions: &Definitions,
        notify: Notify,
    ) -> Result<(HashMap<Fence, Option<Rest>>, Vec<Unplanned>), Error> {
        let ended = async {
            write_all_pipelined(conn, &self.writes).await?;
            let ended = end_unplanned(conn, session, &self.unplanned).await?;
            let unplanned = replan_carefully(conn, &self.machines, definitions, notify).await?;
            Ok((ended, unplanned))
        };
        let (mut ended, unplanned) = match ended.await {
            Ok(ended) => ended,
            Err(error) => return Err(rolled_back(conn, error).await),
        };
        let judge = async |conn: &AsyncPgConnection| rest_pipelined(conn, &self.unplanned).await;
        let rests = committing(conn, judge).await?;
        ended.extend(rests.into_iter().map(|(fence, rest)| (fence, Some(rest))));
        Ok((ended, unplanned))
    }

    fn result(
        &self,
        finish: &Finish<'_>,
        ended: &HashMap<Fence, Option<Rest>>,
    ) -> Ended<Option<Rest>> {
        let fence = &finish.attempt.fence;
        match ended.get(fence) {
            Some(rest) => Ended::Done(*rest),
            None if self.busy.contains(fence) => Ended::Busy,
            None => Ended::Lost,
        }
    }
}

async fn end_unplanned(
    conn: &AsyncPgConnection,
    session: SessionId,
    finishes: &[Finish<'_>],
) -> Result<HashMap<Fence, Option<Rest>>, Error> {
    if finishes.is_empty() {
        return Ok(HashMap::new());
    }
    let attempts: Vec<&Attempt> = finishes.iter().map(|f| f.attempt).collect();
    let ended = finish_pipelined(conn, session, &attempts).await?;
    let ended = attempts.iter().zip(ended);
    let ended = ended.filter(|(_, ended)| matches!(ended, Ended::Done(())));
    Ok(ended.map(|(attempt, _)| (attempt.fence, None)).collect())
}

/// The error, after a transaction that may be open was rolled back.
async fn rolled_back(conn: &mut AsyncPgConnection, error: Error) -> Error {
    if error.kind() != crate::ErrorKind::ConnectionLost {
        // The caller closes a connection that cannot be used any more.
        let _ = roll_back(conn).await;
    }
    error
}

/// Like [`finish_all`] for one attempt, without writes.
///
/// # Errors
/// As [`finish_all`].
pub async fn finish(
    conn: &mut AsyncPgConnection,
    attempt: &Attempt,
) -> Result<Ended<Option<Rest>>, Error> {
    let finishes = [Finish {
        attempt,
        jitter: Jitter::default(),
        writes: &TagWrites::new(),
    }];
    let known = KnownDefinitions::default();
    let how = How::default();
    let finished = finish_all(conn, attempt.session, &finishes, &known, how).await?;
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
type RestRow = (Fence, Option<DateTime<Utc>>, i64, i64);

fn rest_of((fence, until, unproductive, flapping): RestRow) -> (Fence, Option<Rest>) {
    let cause = RestCause::of(unproductive, flapping);
    (fence, until.map(|until| Rest { until, cause }))
}

/// The rests that finishes of this transaction begin, by fence.
async fn rest_pipelined(
    mut conn: &AsyncPgConnection,
    finishes: &[Finish<'_>],
) -> Result<HashMap<Fence, Rest>, Error> {
    if finishes.is_empty() {
        return Ok(HashMap::new());
    }
    let attempts = Attempts::of(finishes.iter().map(|f| f.attempt));
    let permille: Vec<i64> = finishes.iter().map(|f| f.jitter.0.into()).collect();
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
