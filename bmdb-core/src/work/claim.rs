//! Claiming: turning due work items into work, in one statement.

use crate::db::deadline::Patience;
use crate::db::pool::Checkout;
use crate::db::retry::Retry;
use crate::db::transaction::{self, Ran, Tx, TxFn, TxOptions};
use crate::error::TxError;
use crate::session::cleanup::Chore;
use crate::session::{Session, SessionInner};
use crate::telemetry;
use crate::work::Work;
use bmdb_model::internal::connection::Backend;
use bmdb_model::internal::work::{self, ClaimBatch, Claimed, QueueHead};
use bmdb_model::{ErrorKind, Process, Provider};
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument;

/// What to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub(crate) process: Process,
    pub(crate) provider: Option<Provider>,
    pub(crate) limit: u32,
}

impl Claim {
    /// One machine that is due for `process`, of any provider.
    #[must_use]
    pub fn of(process: &Process) -> Self {
        Self {
            process: process.clone(),
            provider: None,
            limit: 1,
        }
    }

    /// Only machines of this provider. Without it the cost of a claim grows with the number of due
    /// machines, with it it does not.
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
}

impl Session {
    /// Claims machines that are due, longest due first: one statement.
    ///
    /// For a time-driven process, such as `ShepherdRecovery`, what only seems due because heartbeats
    /// are not planned is planned on the way, in transactions of up to 1,000 machines. One call looks
    /// at ten of them at most; the rest of a long queue is left to the next call. When nothing seems
    /// due, it is one statement that writes nothing.
    ///
    /// An empty answer does not prove that nothing is due, for machines that others are just
    /// claiming are skipped: ask again later, or let a [`Poller`](crate::Poller) do it. A session that
    /// claims more than a few times a second does not look each time whether something has become due
    /// before what it claimed last, only after two seconds at the latest.
    ///
    /// Cancellation: what a dropped future may have claimed is given back in the background.
    ///
    /// # Errors
    /// [`TxError::SessionExpired`], also where the database has fallen silent, as soon as the session is
    /// lost; [`TxError::Suspect`]; [`TxError::Draining`]; [`TxError::CommitUnknown`] for a time-driven
    /// process; database errors. Nothing stays claimed after any of them.
    pub async fn claim(&self, claim: &Claim) -> Result<Vec<Work>, TxError> {
        let answer = self.inner.claim(claim, Reach::AboveFloor).await?;
        Ok(answer.works)
    }
}

/// How much of a queue a claim looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// What is above the session's floor, where it has one.
    AboveFloor,
    /// All of it.
    Whole,
}

/// What a claim got, and what it learnt about the rest of the queue.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) works: Vec<Work>,
    /// What was at the queue's head, or is: unknown where the claim has re-armed what was there.
    pub(crate) head: Option<QueueHead>,
    /// How much of the queue was looked at.
    pub(crate) reach: Reach,
    /// Whether what seemed due was planned anew, so that the next look sees others.
    pub(crate) has_rearmed: bool,
    /// Whether something that seems due is left, in whichever of the queues was asked.
    pub(crate) is_due_left: bool,
}

impl SessionInner {
    /// See [`Session::claim`].
    pub(crate) async fn claim(
        self: &Arc<Self>,
        claim: &Claim,
        reach: Reach,
    ) -> Result<Answer, TxError> {
        // Here so that what is refused is not measured as a claim; below once more, for draining has to
        // see the operation before it is judged whether that has begun.
        self.refuse_new_work()?;
        let span = telemetry::claim(self.lease().session, &claim.process, claim.limit);
        let claiming = self.claim_if_allowed(claim, reach).instrument(span);
        self.component.meters.claim(&claim.process, claiming).await
    }

    async fn claim_if_allowed(
        self: &Arc<Self>,
        claim: &Claim,
        reach: Reach,
    ) -> Result<Answer, TxError> {
        let mut retry = self.retry(None);
        self.refuse_new_work()?;
        let is_time_driven = self.component.is_time_driven(&claim.process, &mut retry);
        if is_time_driven.await? {
            let answer = self.claim_rearming(claim, &mut retry).await?;
            return self.if_trusted(answer);
        }
        loop {
            self.refuse_new_work()?;
            match self.try_claim(claim, reach, &mut retry).await {
                Err(error) => retry.after(error).await?,
                Ok(Some(answer)) => return self.if_trusted(answer),
                Ok(None) => return Err(self.expired()),
            }
        }
    }

    /// Machines that were claimed just as the lease was lost are not to be worked on.
    pub(crate) fn if_trusted<T>(&self, claimed: T) -> Result<T, TxError> {
        self.refuse_if_lost().map(|()| claimed)
    }

    /// The claim, once, with everything that it got known afterwards or looked for; `None` when the
    /// session has expired.
    async fn try_claim(
        self: &Arc<Self>,
        claim: &Claim,
        reach: Reach,
        retry: &mut Retry,
    ) -> Result<Option<Answer>, TxError> {
        let Claim {
            process,
            provider,
            limit,
        } = claim;
        // Before the connection is taken: whoever waits here must not keep one from others.
        let _claiming = self.holdings.claiming.read().await;
        let mut conn = retry.checkout(&self.component.pool).await?;
        let unanswered = Unanswered::new(self, &conn);
        let id = self.lease().session;
        let provider = provider.as_ref();
        let floor = match reach {
            Reach::AboveFloor => self.floors.floor(process, provider, Instant::now()),
            Reach::Whole => None,
        };
        let limit = (*limit).into();
        let batch = work::claim_from(&mut conn, process, provider, floor, id, limit);
        match retry.patience().answer(batch).await {
            Ok(batch) => {
                let answer = batch.map(|batch| {
                    let ClaimBatch {
                        claimed,
                        latest,
                        head,
                    } = batch;
                    self.floors.raise(process, provider, latest);
                    Answer {
                        works: claimed.into_iter().map(|c| self.hold(process, c)).collect(),
                        has_rearmed: false,
                        is_due_left: head == QueueHead::Due,
                        head: Some(head),
                        reach: floor.map_or(Reach::Whole, |_| Reach::AboveFloor),
                    }
                });
                unanswered.answered();
                conn.give_back();
                Ok(answer)
            }
            Err(error) => {
                let error = TxError::from(error);
                unanswered.refused(&error);
                conn.give_back_after(&error);
                Err(error)
            }
        }
    }

    /// Runs a transaction that claims, once: what it claimed is made known by `keep`, or looked for;
    /// `None` when the session has expired. The caller is reading `holdings.claiming`.
    pub(crate) async fn claim_in_transaction<T, U, F>(
        &self,
        mut conn: Checkout,
        patience: &Patience,
        body: &F,
        keep: impl FnOnce(T) -> U,
    ) -> Result<Option<U>, TxError>
    where
        F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<T, TxError>, Fut: Send> + Sync,
        T: Send,
    {
        let unanswered = Unanswered::new(self, &conn);
        let (session, options) = (self.lease().session, TxOptions::read_committed());
        let opening = options.into();
        match transaction::run_once(&mut conn, session, opening, patience, body).await {
            Ok(Ran::CommitUnknown(_, error)) => Err(TxError::CommitUnknown(error)),
            Ok(Ran::Committed(value)) => {
                let kept = keep(value);
                unanswered.answered();
                conn.give_back();
                Ok(Some(kept))
            }
            Ok(Ran::Expired) => {
                unanswered.answered();
                conn.give_back();
                Ok(None)
            }
            Err(error) => {
                unanswered.refused(&error);
                conn.give_back_after(&error);
                Err(error)
            }
        }
    }

    pub(crate) fn hold(self: &Arc<Self>, process: &Process, claimed: Claimed) -> Work {
        Work::new(self.clone(), process.clone(), claimed)
    }
}

/// A claim on its way: unless its answer arrives, what it may have left behind is looked for.
struct Unanswered<'s> {
    session: &'s SessionInner,
    backend: Backend,
    answered: bool,
}

impl<'s> Unanswered<'s> {
    fn new(session: &'s SessionInner, conn: &Checkout) -> Self {
        Self {
            session,
            backend: conn.info().backend,
            answered: false,
        }
    }

    fn answered(mut self) {
        self.answered = true;
    }

    /// An error is an answer too, unless it says that the connection is gone.
    fn refused(mut self, error: &TxError) {
        self.answered = error.kind() != Some(ErrorKind::ConnectionLost);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let holdings = self.session.holdings.clone();
            self.session
                .component
                .chores
                .add(Chore::Sweep(holdings, self.backend));
        }
    }
}
