//! The core of a session: its component and lease, and how its operations and transactions run.

use crate::db::retry::Retry;
use crate::db::transaction::{self, TxOutcome, TxStart};
use crate::db::tx_fn::TxBody;
use crate::error::TxError;
use crate::session::attempt_end::Cancellation;
use crate::session::claimed_fences::ClaimedFences;
use crate::session::cleanup::CleanupTask;
use crate::session::component::Component;
use crate::session::lease::{Lease, SessionState};
use crate::telemetry;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// What every operation of a session needs. Dropping it closes the session in the background.
pub(crate) struct SessionCore {
    pub(crate) component: Arc<Component>,
    pub(crate) claimed_fences: Arc<ClaimedFences>,
}

impl Drop for SessionCore {
    fn drop(&mut self) {
        let lease = &self.claimed_fences.lease;
        if !lease.is_closed() {
            self.component
                .cleanup
                .add(CleanupTask::Close(lease.clone()));
        }
    }
}

impl SessionCore {
    pub(crate) fn new(component: Arc<Component>, lease: Arc<Lease>) -> Self {
        Self {
            component,
            claimed_fences: Arc::new(ClaimedFences::new(lease)),
        }
    }

    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.claimed_fences.lease
    }

    /// An end without a result, and without a rest.
    pub(crate) fn cancellation(&self) -> Cancellation {
        Cancellation {
            fold: self.component.config.history.folds(),
            ..Cancellation::default()
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lease().state() == SessionState::Lost
    }

    pub(crate) fn refuse_if_lost(&self) -> Result<(), TxError> {
        self.component.database.home.refuse_if_ended()?;
        match self.is_lost() {
            true => Err(TxError::SessionExpired),
            false => Ok(()),
        }
    }

    /// Only a live session of a component that does not drain may claim.
    pub(crate) fn refuse_new_work(&self) -> Result<(), TxError> {
        self.component.database.home.refuse_if_ended()?;
        match self.lease().state() {
            SessionState::Lost => Err(TxError::SessionExpired),
            SessionState::Live => self.component.refuse_if_draining(),
            SessionState::Suspect => {
                self.component.refuse_if_draining()?;
                Err(TxError::Suspect)
            }
        }
    }

    /// The retries of an operation of this session. The operation is in flight while this is kept.
    pub(crate) fn retry(&self, limit: Option<Duration>) -> Retry {
        let component = &self.component;
        let deadline = component.database.session_deadline(self.lease().clone());
        Retry::new(limit.unwrap_or(component.config.retry_for), deadline)
            .in_flight(component.in_flight.begin())
            .counted_by(&component.meters.retried)
    }

    /// Runs a transaction. A session that turns out to have expired is given up here as well.
    pub(crate) async fn run<T: Send, F: TxBody<T>>(
        &self,
        start: TxStart,
        retry: &mut Retry,
        body: &F,
    ) -> Result<TxOutcome<T>, TxError> {
        let database = &self.component.database;
        let id = self.lease().session;
        let run = transaction::run(database, id, start, retry, body);
        let run = run.instrument(telemetry::transaction(id));
        let has_failed = |ran: &Result<_, _>| !matches!(ran, Ok(TxOutcome::Committed(_)));
        let ran = self.component.meters.transaction(run, has_failed).await;
        if matches!(ran, Ok(TxOutcome::Expired)) {
            self.lease().lose();
        }
        ran
    }

    /// Gives the session up, because the database says that it has expired.
    pub(crate) fn expired(&self) -> TxError {
        self.lease().lose();
        TxError::SessionExpired
    }
}
