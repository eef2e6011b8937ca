//! Claiming: turning due work items into work, in one statement.

use crate::chores::Chore;
use crate::error::TxError;
use crate::pool::Lease;
use crate::session::{Session, SessionInner};
use crate::transaction::give_back_unless_lost;
use crate::work::Work;
use bmdb_model::connection::Backend;
use bmdb_model::work::{self, Claimed};
use bmdb_model::{Failure, Process, Provider};
use std::sync::Arc;

/// What to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    process: Process,
    provider: Option<Provider>,
    limit: u32,
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
    /// An empty answer does not prove that nothing is due, for machines that others are just
    /// claiming are skipped: ask again later.
    ///
    /// Cancellation: what a dropped future may have claimed is given back in the background.
    ///
    /// # Errors
    /// [`TxError::SessionExpired`]; [`TxError::Draining`]; [`TxError::TimeDriven`] for a process
    /// that must be retrieved live; database errors, after which nothing stays claimed.
    pub async fn claim(&self, claim: &Claim) -> Result<Vec<Work>, TxError> {
        let session = &self.inner;
        session.refuse_if_lost()?;
        session.bmdb.refuse_if_draining()?;
        session.bmdb.refuse_if_time_driven(&claim.process).await?;
        let mut retry = session.retry(None);
        loop {
            let mut lease = session.bmdb.pool.lease().await?;
            let _claiming = session.holdings.claiming.read().await;
            let unanswered = Unanswered::new(session, &lease);
            let Claim {
                process,
                provider,
                limit,
            } = claim;
            let id = session.lease().session;
            let claimed =
                work::claim(&mut lease, process, provider.as_ref(), id, (*limit).into()).await;
            let error = match claimed {
                Ok(Some(claimed)) => {
                    unanswered.answered();
                    lease.give_back();
                    let works = claimed.into_iter();
                    return Ok(works.map(|c| session.hold(process, c)).collect());
                }
                Ok(None) => {
                    unanswered.answered();
                    lease.give_back();
                    return session.heed(Err(TxError::SessionExpired));
                }
                Err(error) => TxError::from(error),
            };
            if error.failure() != Some(Failure::ConnectionLost) {
                unanswered.answered();
            }
            give_back_unless_lost(lease, &error);
            retry.after(error).await?;
        }
    }
}

impl SessionInner {
    pub(crate) fn hold(self: &Arc<Self>, process: &Process, claimed: Claimed) -> Work {
        Work::new(self.clone(), process.clone(), claimed)
    }
}

/// A claim on its way: unless its answer arrives, what it may have left behind is looked for.
pub(crate) struct Unanswered<'s> {
    session: &'s SessionInner,
    backend: Backend,
    answered: bool,
}

impl<'s> Unanswered<'s> {
    pub(crate) fn new(session: &'s SessionInner, lease: &Lease) -> Self {
        Self {
            session,
            backend: lease.info().backend,
            answered: false,
        }
    }

    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let holdings = self.session.holdings.clone();
            self.session
                .bmdb
                .chores
                .add(Chore::Sweep(holdings, self.backend));
        }
    }
}
