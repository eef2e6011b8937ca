//! Finishing attempts: writes, ends, plan and rests in one transaction.
//!
//! A finish always replans its machine, so what was written by plain SQL counts too, and then judges
//! whether the process has changed anything there.

use super::attempt::Attempt;
use super::attempts::{Ended, only};
use super::finish_lock::{Locked, Waiting, begin_locking};
use super::judge::{Finish, Jitter, Rest, RestRow, rest_of, rest_pipelined};
use super::release::finish_pipelined;
use crate::internal::connection::{committing, roll_back};
use crate::internal::notify::Notify;
use crate::internal::plan::{
    Definitions, KnownDefinitions, PlanAndFinish, Unplanned, replan_carefully,
};
use crate::internal::tag_writes::write_all_pipelined;
use crate::{Error, Fence, MachineId, SessionId, TagWrites};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::join4;
use std::collections::HashMap;

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
        let permille: Vec<i64> = planned().map(|f| f.jitter.permille()).collect();
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
