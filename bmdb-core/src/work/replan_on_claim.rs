//! Claiming for time-driven processes, which replans machines that only seem due.
//!
//! A heartbeat moves a machine's deadline without planning, so the queue of such a process contains machines
//! that were due by their last plan and are not by their last heartbeat. Replanning them when the queue is
//! read costs a healthy machine one write per deadline instead of one per heartbeat.

use crate::db::database::{Database, Planning};
use crate::db::retry::Retry;
use crate::db::tx::Tx;
use crate::error::TxError;
use crate::work::Work;
use crate::work::claim::{Answer, Claim, Scan};
use crate::work::inner::SessionInner;
use crate::work::pending_claim;
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::plan::{self, Definitions, may_be_a_views_fault};
use bmdb_model::internal::work::{self, Claimed, Providers, QueueHead};
use bmdb_model::{MachineId, Process};
use std::sync::Arc;

/// How many machines one transaction locks and plans, unless more are to be claimed. Writers of their tags
/// wait that long.
const BATCH: u32 = 500;

/// The upper limit of that number.
const LARGEST_BATCH: u32 = 1000;

/// How many batches one claim reads. The next claim continues with the rest of a queue full of healthy
/// machines.
const BATCHES: u32 = 10;

/// The result of one batch.
struct Batch<T> {
    claimed: Vec<T>,
    /// Whether the queue may contain more than was read.
    more: bool,
    /// The head of the queue, unless it was replanned.
    head: Option<QueueHead>,
}

impl SessionInner {
    /// Claims batch by batch, until there are enough machines, nothing seems due any more, or the batches of
    /// one claim are used up.
    pub(crate) async fn claim_replanning(
        self: &Arc<Self>,
        claim: &Claim,
        providers: Providers<'_>,
        retry: &mut Retry,
    ) -> Result<Answer, TxError> {
        let mut machines = Vec::new();
        let mut head = None;
        for _ in 0..BATCHES {
            let got = u32::try_from(machines.len()).unwrap_or(u32::MAX);
            let missing = claim.limit.saturating_sub(got);
            if missing == 0 {
                break;
            }
            let try_batch = async |retry: &Retry| {
                self.refuse_new_work()?;
                let planning = self.component.database.planning();
                let tried = self.try_batch(claim, providers, missing, planning, retry);
                match tried.await {
                    Err(TxError::Database(error))
                        if planning == Planning::AtOnce && may_be_a_views_fault(&error) =>
                    {
                        tracing::debug!(%error, "a claim is planned carefully");
                        self.refuse_new_work()?;
                        let planning = Planning::Careful;
                        self.try_batch(claim, providers, missing, planning, retry)
                            .await
                    }
                    tried => tried,
                }
            };
            let batch = retry.run(try_batch).await;
            match batch.and_then(|batch| batch.ok_or_else(|| self.expired())) {
                Ok(batch) => {
                    machines.extend(batch.claimed);
                    head = batch.head;
                    if !batch.more {
                        break;
                    }
                }
                Err(error) if machines.is_empty() => return Err(error),
                // The claims of earlier batches are committed, and their machines can be worked on.
                Err(error) => {
                    tracing::debug!(%error, "a claim ends with its earlier batches");
                    break;
                }
            }
        }
        Ok(Answer {
            machines,
            has_replanned: head.is_none(),
            is_due_left: head == Some(QueueHead::Due),
            head,
            scan: Scan::WholeQueue,
        })
    }

    /// The head of the queue now.
    pub(crate) async fn head(&self, claim: &Claim) -> Result<QueueHead, TxError> {
        let retry = self.retry(None);
        let (process, provider) = (&claim.process, claim.provider.as_ref());
        let session = self.lease().session;
        let head = self.component.database.run_for(&retry, async |conn| {
            Ok(work::possibly_due(conn, process, provider, session).await?)
        });
        match head.await {
            Ok(head) => head.map(|(head, _)| head).ok_or_else(|| self.expired()),
            Err(error) => Err(retry.deadline().explain(error)),
        }
    }

    /// One batch, once. Everything that was claimed in it is known afterwards, or searched for; `None` if
    /// the session has expired.
    async fn try_batch(
        self: &Arc<Self>,
        claim: &Claim,
        providers: Providers<'_>,
        missing: u32,
        planning: Planning,
        retry: &Retry,
    ) -> Result<Option<Batch<Work>>, TxError> {
        let process = &claim.process;
        let provider = providers.one();
        let session = self.lease().session;
        // Before the checkout: a claim that waits here must not occupy a connection.
        let _claiming = self.claimed_fences.claiming.read().await;
        let mut conn = self.component.database.checkout_for(retry).await?;
        // Outside a transaction, whose fence check would write: an empty poll must write nothing.
        let head = work::possibly_due(&mut conn, process, provider, session);
        let head = retry.deadline().answer(head).await;
        let idle = match head.map_err(TxError::from) {
            Ok(Some((QueueHead::Due, is_controlled))) => {
                if is_controlled {
                    self.component.note_controlled(process);
                }
                None
            }
            Ok(Some((head, _))) => Some(Ok(Some(Batch {
                claimed: Vec::new(),
                more: false,
                head: Some(head),
            }))),
            Ok(None) => Some(Ok(None)),
            Err(error) => Some(Err(error)),
        };
        if let Some(result) = idle {
            return conn.settle(result);
        }
        let observe = self.component.listening.observe_before_claim(&mut conn);
        if let Err(error) = retry.deadline().answer(observe).await {
            return conn.settle(Err(error));
        }
        let database = &self.component.database;
        let body = async |tx: &mut Tx<'_>| {
            let size = missing.clamp(BATCH, LARGEST_BATCH);
            let (machines, definitions) =
                work::lock_due(tx, process, providers, size.into()).await?;
            if machines.is_empty() {
                // Another transaction has locked them, or another session has claimed their lanes.
                return Ok(Batch {
                    claimed: Vec::new(),
                    more: false,
                    head: Some(QueueHead::Due),
                });
            }
            let more = u32::try_from(machines.len()).is_ok_and(|locked| locked == size);
            // Only what is claimed: the items of other processes do not depend on it, and their views may
            // fail.
            let definitions = definitions.only(process);
            let machines =
                plan_due(tx, database, process, machines, &definitions, planning).await?;
            let limit = missing.into();
            let claimed = match claim.reads_provided {
                false => {
                    work::claim_planned(tx, &machines, process, provider, session, limit).await?
                }
                true => {
                    work::claim_planned_reading_provided(
                        tx, &machines, process, provider, session, limit,
                    )
                    .await?
                }
            };
            Ok(Batch {
                claimed,
                more,
                head: None,
            })
        };
        let keep = |batch: Batch<Claimed>| Batch {
            claimed: batch
                .claimed
                .into_iter()
                .map(|c| self.hold(process, c))
                .collect(),
            more: batch.more,
            head: batch.head,
        };
        pending_claim::transact(self, conn, retry.deadline(), &body, keep).await
    }
}

/// Plans the machines that a claim has locked; returns those that it may claim.
///
/// Locking, planning and claiming are statements of their own, because each has to see what was committed
/// before the one before it ended. If one statement locked and planned, a machine that was just written would
/// be planned by its state before that.
async fn plan_due(
    tx: &mut Tx<'_>,
    database: &Database,
    process: &Process,
    mut machines: Vec<MachineId>,
    definitions: &Definitions,
    planning: Planning,
) -> Result<Vec<MachineId>, TxError> {
    // Sends no notification: this moves deadlines later, and machines that are due stay due.
    let notify = Notify::Off;
    match planning {
        Planning::AtOnce => plan::replan_by(tx, &machines, definitions, notify).await?,
        Planning::Careful => {
            let unplanned = plan::replan_carefully(tx, &machines, definitions, notify).await?;
            for unplanned in &unplanned {
                machines.retain(|machine| !unplanned.machines.contains(machine));
                work::postpone_due(tx, process, &unplanned.machines).await?;
            }
            database.note_unplanned(&unplanned);
        }
    }
    Ok(machines)
}
