//! Claiming for processes that limits, breakers or pauses may stop: from each queue that is open, as many
//! machines as it has room for.
//!
//! This only keeps polls from locking machines that may not start, and full queues from hiding the others
//! behind them. What may start is decided by a trigger of the database, which every claim meets.

use crate::db::retry::Retry;
use crate::error::TxError;
use crate::work::claim::{Answer, Claim, Scan};
use crate::work::inner::SessionInner;
use bmdb_model::internal::work::{self, OpenQueues, QueueHead};
use std::sync::Arc;

impl SessionInner {
    pub(super) async fn claim_open_queues(
        self: &Arc<Self>,
        claim: &Claim,
        is_time_driven: bool,
        scan: Scan,
        retry: &mut Retry,
    ) -> Result<Answer, TxError> {
        // One machine of one queue is claimed or it is not: a look at the room before would cost as much as the
        // claim.
        if claim.limit == 1 && claim.provider.is_some() && !is_time_driven {
            let providers = claim.provider.as_ref().into();
            let answer = self.claim_from_queue(claim, providers, scan, retry).await?;
            if !answer.machines.is_empty() || !answer.is_due_left {
                return Ok(answer);
            }
        }
        let OpenQueues {
            is_controlled,
            open,
            head,
        } = self.open_queues(claim, retry).await?;
        if !is_controlled {
            self.component.note_uncontrolled(&claim.process);
        }
        let mut all = Answer {
            machines: Vec::new(),
            head: Some(head),
            scan: Scan::WholeQueue,
            has_replanned: false,
            is_due_left: head == QueueHead::Due,
        };
        for queue in open {
            let got = u32::try_from(all.machines.len()).unwrap_or(u32::MAX);
            let room = u32::try_from(queue.room).unwrap_or(u32::MAX);
            let missing = claim.limit.saturating_sub(got).min(room);
            if missing == 0 {
                continue;
            }
            let providers = queue.providers();
            let of_queue = claim.clone().limit(missing);
            let answer = if is_time_driven {
                self.claim_replanning(&of_queue, providers, retry).await
            } else {
                self.claim_from_queue(&of_queue, providers, scan, retry)
                    .await
            };
            match answer {
                Ok(answer) => {
                    all.machines.extend(answer.machines);
                    all.has_replanned |= answer.has_replanned;
                }
                Err(error) if all.machines.is_empty() => return Err(error),
                // The earlier claims are committed, so they are returned.
                Err(error) => {
                    tracing::debug!(%error, "a claim ends before its last queues");
                    break;
                }
            }
        }
        Ok(all)
    }

    async fn open_queues(&self, claim: &Claim, retry: &Retry) -> Result<OpenQueues, TxError> {
        self.refuse_new_work()?;
        let (process, provider) = (&claim.process, claim.provider.as_ref());
        let (session, limit) = (self.lease().session, claim.limit.into());
        let queues = self.component.database.run_for(retry, async |conn| {
            Ok(work::open_queues(conn, process, provider, session, limit).await?)
        });
        match queues.await {
            Ok(queues) => queues.ok_or_else(|| self.expired()),
            Err(error) => Err(retry.deadline().explain(error)),
        }
    }
}
