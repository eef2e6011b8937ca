//! Claiming due machines in one statement.

use crate::db::retry::Retry;
use crate::error::TxError;
use crate::telemetry;
use crate::work::Work;
use crate::work::inner::SessionInner;
use crate::work::pending_claim::PendingClaim;
use bmdb_model::internal::work::{self, ClaimBatch, Claimed, Providers, QueueHead};
use bmdb_model::{Process, Provider};
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument;

/// What to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub(crate) process: Process,
    pub(crate) provider: Option<Provider>,
    pub(crate) limit: u32,
    pub(crate) reads_provided: bool,
}

impl Claim {
    /// One machine that is due for `process`, of any provider.
    #[must_use]
    pub fn of(process: &Process) -> Self {
        Self {
            process: process.clone(),
            provider: None,
            limit: 1,
            reads_provided: false,
        }
    }

    /// Only machines of this provider. Without a provider, the cost of a claim grows with the number of due
    /// machines.
    #[must_use]
    pub fn provider(self, provider: &Provider) -> Self {
        Self {
            provider: Some(provider.clone()),
            ..self
        }
    }

    /// Up to this many machines at once.
    #[must_use]
    pub fn limit(self, machines: u32) -> Self {
        Self {
            limit: machines,
            ..self
        }
    }

    /// Reads with each machine where it comes from and how it is reached, for
    /// [`Work::provided`](crate::Work::provided). This costs no round trip, and the server some microseconds for
    /// each machine. Default: it is not read.
    #[must_use]
    pub fn with_provided(self) -> Self {
        Self {
            reads_provided: true,
            ..self
        }
    }
}

/// Which part of a queue a claim reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// From the session's queue cursor on, if it has one.
    FromCursor,
    WholeQueue,
}

/// The result of a claim, and its findings about the rest of the queue.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) machines: Vec<Work>,
    /// The head of the queue: unknown if the claim has replanned it.
    pub(crate) head: Option<QueueHead>,
    /// Which part of the queue was read.
    pub(crate) scan: Scan,
    /// Whether machines that seemed due were replanned, so that the next claim sees others.
    pub(crate) has_replanned: bool,
    /// Whether a machine that seems due is left in one of the queues.
    pub(crate) is_due_left: bool,
}

impl SessionInner {
    /// See [`Session::claim`](crate::Session::claim).
    pub(crate) async fn claim(
        self: &Arc<Self>,
        claim: &Claim,
        scan: Scan,
    ) -> Result<Answer, TxError> {
        // Here so that refused claims are not measured. The check is repeated once the operation is in
        // flight: only then does draining wait for it.
        self.refuse_new_work()?;
        let span = telemetry::claim(self.lease().session, &claim.process, claim.limit);
        let claiming = self.claim_if_allowed(claim, scan).instrument(span);
        self.component.meters.claim(&claim.process, claiming).await
    }

    async fn claim_if_allowed(
        self: &Arc<Self>,
        claim: &Claim,
        scan: Scan,
    ) -> Result<Answer, TxError> {
        let mut retry = self.retry(None);
        self.refuse_new_work()?;
        let is_time_driven = self.component.is_time_driven(&claim.process, &retry);
        let is_time_driven = is_time_driven.await?;
        let answer = if self.component.is_controlled(&claim.process) {
            self.claim_open_queues(claim, is_time_driven, scan, &mut retry)
                .await?
        } else if is_time_driven {
            self.claim_replanning(claim, claim.provider.as_ref().into(), &mut retry)
                .await?
        } else {
            let providers = claim.provider.as_ref().into();
            self.claim_from_queue(claim, providers, scan, &mut retry)
                .await?
        };
        self.unless_lost(answer)
    }

    /// Claims for a process whose items are planned already.
    pub(super) async fn claim_from_queue(
        self: &Arc<Self>,
        claim: &Claim,
        providers: Providers<'_>,
        scan: Scan,
        retry: &mut Retry,
    ) -> Result<Answer, TxError> {
        let try_claim = async |retry: &Retry| {
            self.refuse_new_work()?;
            self.try_claim(claim, providers, scan, retry).await
        };
        let answer = retry.run(try_claim).await?;
        answer.ok_or_else(|| self.expired())
    }

    /// Refuses machines that were claimed just as the lease was lost.
    pub(crate) fn unless_lost<T>(&self, claimed: T) -> Result<T, TxError> {
        self.refuse_if_lost().map(|()| claimed)
    }

    /// Claims once. Everything that was claimed is known afterwards, or searched for; `None` if the session
    /// has expired.
    async fn try_claim(
        self: &Arc<Self>,
        claim: &Claim,
        providers: Providers<'_>,
        scan: Scan,
        retry: &Retry,
    ) -> Result<Option<Answer>, TxError> {
        let Claim { process, .. } = claim;
        // Before the checkout: a claim that waits here must not occupy a connection.
        let _claiming = self.claimed_fences.claiming.read().await;
        let mut conn = self.component.database.checkout_for(retry).await?;
        let pending = PendingClaim::new(self, &conn);
        let id = self.lease().session;
        let provider = providers.one();
        let cursor = match scan {
            // Machines without a provider share their cursor's place with the queue of all.
            Scan::FromCursor if providers != Providers::None => {
                self.cursors.get(process, provider, Instant::now())
            }
            Scan::FromCursor | Scan::WholeQueue => None,
        };
        let limit = claim.limit.into();
        let batch = async {
            match claim.reads_provided {
                false => work::claim_from(&mut conn, process, providers, cursor, id, limit).await,
                true => {
                    work::claim_reading_provided(&mut conn, process, providers, cursor, id, limit)
                        .await
                }
            }
        };
        let batch = retry.deadline().answer(batch).await;
        let result = batch.map_err(TxError::from).map(|batch| {
            batch.map(|batch| {
                let ClaimBatch {
                    claimed,
                    latest,
                    head,
                    is_controlled,
                } = batch;
                if is_controlled {
                    self.component.note_controlled(process);
                }
                if providers != Providers::None {
                    self.cursors.advance(process, provider, latest);
                }
                Answer {
                    machines: claimed.into_iter().map(|c| self.hold(process, c)).collect(),
                    has_replanned: false,
                    is_due_left: head == QueueHead::Due,
                    head: Some(head),
                    scan: cursor.map_or(Scan::WholeQueue, |_| Scan::FromCursor),
                }
            })
        });
        pending.settle(&result);
        conn.settle(result)
    }

    pub(crate) fn hold(self: &Arc<Self>, process: &Process, claimed: Claimed) -> Work {
        Work::new(self.clone(), process.clone(), claimed)
    }
}
