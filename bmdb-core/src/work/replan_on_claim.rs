//! Claiming for time-driven processes: what only seems due is planned anew on the way.
//!
//! A heartbeat moves a machine's deadline without planning, so the queue of such a process holds
//! machines that were due by their last plan and are not by their last heartbeat. Re-arming them
//! where the queue is read costs a healthy machine one write per deadline instead of one per
//! heartbeat.

use crate::db::retry::Retry;
use crate::db::transaction::Tx;
use crate::error::TxError;
use crate::session::SessionInner;
use crate::work::Work;
use crate::work::claim::{Answer, Claim, Reach};
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::plan;
use bmdb_model::internal::work::{self, Claimed, QueueHead};
use bmdb_model::{Process, Provider, SessionId};
use std::sync::Arc;

/// How many machines are locked and planned in one transaction, unless more are to be claimed.
/// Writers of their tags wait that long.
const BATCH: u32 = 500;

/// How many they may be at most.
const LARGEST_BATCH: u32 = 1000;

/// How many batches one claim looks at. The rest of a queue full of healthy machines is left to the
/// next one.
const BATCHES: u32 = 10;

/// What one batch came to.
struct Batch<T> {
    claimed: Vec<T>,
    /// Whether the queue may hold more than was looked at.
    more: bool,
    /// What is at its head, unless that was re-armed.
    head: Option<QueueHead>,
}

impl SessionInner {
    /// Claims batch by batch, until there are enough, nothing seems due any more, or the share of
    /// one claim is done.
    pub(crate) async fn claim_rearming(
        self: &Arc<Self>,
        claim: &Claim,
        retry: &mut Retry,
    ) -> Result<Answer, TxError> {
        let mut works = Vec::new();
        let mut head = None;
        for _ in 0..BATCHES {
            let got = u32::try_from(works.len()).unwrap_or(u32::MAX);
            let missing = claim.limit.saturating_sub(got);
            if missing == 0 {
                break;
            }
            match self.claim_batch(claim, missing, retry).await {
                Ok(batch) => {
                    works.extend(batch.claimed);
                    head = batch.head;
                    if !batch.more {
                        break;
                    }
                }
                Err(error) if works.is_empty() => return Err(error),
                // What was claimed is committed and wants to be worked on.
                Err(error) => {
                    tracing::debug!(%error, "a claim ends with its earlier batches");
                    break;
                }
            }
        }
        Ok(Answer {
            works,
            has_rearmed: head.is_none(),
            is_due_left: head == Some(QueueHead::Due),
            head,
            reach: Reach::Whole,
        })
    }

    /// What is at the head of the queue now.
    pub(crate) async fn head(&self, claim: &Claim) -> Result<QueueHead, TxError> {
        let mut retry = self.retry(None);
        let mut conn = retry.checkout(&self.component.pool).await?;
        let (process, provider) = (&claim.process, claim.provider.as_ref());
        let head = work::possibly_due(&mut conn, process, provider, self.lease().session);
        match retry.patience().answer(head).await {
            Ok(head) => {
                conn.give_back();
                head.ok_or_else(|| self.expired())
            }
            Err(error) => {
                let error = TxError::from(error);
                conn.give_back_after(&error);
                Err(retry.patience().explain(error))
            }
        }
    }

    async fn claim_batch(
        self: &Arc<Self>,
        claim: &Claim,
        missing: u32,
        retry: &mut Retry,
    ) -> Result<Batch<Work>, TxError> {
        loop {
            self.refuse_new_work()?;
            match self.try_batch(claim, missing, retry).await {
                Ok(Some(batch)) => return Ok(batch),
                Ok(None) => return Err(self.expired()),
                Err(error) => retry.after(error).await?,
            }
        }
    }

    /// One batch, once, with everything that was claimed in it known afterwards or looked for;
    /// `None` when the session has expired.
    async fn try_batch(
        self: &Arc<Self>,
        claim: &Claim,
        missing: u32,
        retry: &mut Retry,
    ) -> Result<Option<Batch<Work>>, TxError> {
        let (process, provider) = (&claim.process, claim.provider.as_ref());
        let session = self.lease().session;
        // Before the connection is taken: whoever waits here must not keep one from others.
        let _claiming = self.holdings.claiming.read().await;
        let mut conn = retry.checkout(&self.component.pool).await?;
        // A transaction's fence check writes, and an idle poll is to write nothing.
        let head = work::possibly_due(&mut conn, process, provider, session);
        let idle = match retry.patience().answer(head).await {
            Ok(Some(QueueHead::Due)) => None,
            Ok(Some(head)) => Some(Some(Batch {
                claimed: Vec::new(),
                more: false,
                head: Some(head),
            })),
            Ok(None) => Some(None),
            Err(error) => {
                let error = TxError::from(error);
                conn.give_back_after(&error);
                return Err(error);
            }
        };
        if let Some(answer) = idle {
            conn.give_back();
            return Ok(answer);
        }
        let body =
            async |tx: &mut Tx<'_>| rearm_and_claim(tx, process, provider, session, missing).await;
        let keep = |batch: Batch<Claimed>| Batch {
            claimed: batch
                .claimed
                .into_iter()
                .map(|c| self.hold(process, c))
                .collect(),
            more: batch.more,
            head: batch.head,
        };
        self.claim_in_transaction(conn, retry.patience(), &body, keep)
            .await
    }
}

/// Lock, plan, claim: three statements, because each has to see what was committed before the one
/// before it was done. Planned in the statement that locks, a machine that somebody has just written
/// would be planned by what it was before.
async fn rearm_and_claim(
    tx: &mut Tx<'_>,
    process: &Process,
    provider: Option<&Provider>,
    session: SessionId,
    missing: u32,
) -> Result<Batch<Claimed>, TxError> {
    let size = missing.clamp(BATCH, LARGEST_BATCH);
    let (machines, definitions) = work::lock_due(tx, process, provider, size.into()).await?;
    if machines.is_empty() {
        // Somebody else has locked them, or holds their lanes.
        return Ok(Batch {
            claimed: Vec::new(),
            more: false,
            head: Some(QueueHead::Due),
        });
    }
    // Nobody is notified: this moves deadlines later, and what is due stays where it is.
    plan::replan_by(tx, &machines, &definitions, Notify::Off).await?;
    let claimed =
        work::claim_planned(tx, &machines, process, provider, session, missing.into()).await?;
    let more = u32::try_from(machines.len()).is_ok_and(|locked| locked == size);
    Ok(Batch {
        claimed,
        more,
        head: None,
    })
}
