//! Open attempt: a machine that a session has claimed and not ended yet.

use crate::db::in_flight::InFlightGuard;
use crate::session::cleanup::CleanupTask;
use crate::session::lease::SessionState;
use crate::telemetry;
use crate::work::inner::SessionInner;
use bmdb_backoff::Seconds;
use bmdb_model::history::Outcome;
use bmdb_model::internal::work::{Attempt, Claimed};
use bmdb_model::provided::UnreadableProvided;
use bmdb_model::work::RestCause;
use bmdb_model::{Process, Provided};
use std::sync::Arc;
use tracing::Span;

/// What a [`Work`](crate::Work) is made of. One that is dropped without an end is canceled in the
/// background.
pub(crate) struct OpenAttempt {
    pub(crate) session: Arc<SessionInner>,
    pub(crate) attempt: Attempt,
    pub(crate) previous_interval: Option<Seconds>,
    pub(crate) failures: i64,
    pub(crate) provided: Result<Option<Provided>, UnreadableProvided>,
    pub(crate) span: Span,
    is_over: bool,
    meter: telemetry::WorkMeter,
    /// Draining waits for it.
    _in_flight: InFlightGuard,
}

impl OpenAttempt {
    pub(crate) fn new(session: Arc<SessionInner>, process: Process, claimed: Claimed) -> Self {
        session.claimed_fences.remember(claimed.fence);
        let in_flight = session.component.in_flight.begin();
        let waited = claimed.ready_at.map(|ready| claimed.started_at - ready);
        session.component.attempt_counts.started(&process, waited);
        let attempt = Attempt {
            machine: claimed.machine,
            process,
            session: session.lease().session,
            fence: claimed.fence,
            started_at: claimed.started_at,
        };
        let meter =
            session
                .component
                .meters
                .begin(&attempt.process, attempt.fence, session.lease());
        let span = telemetry::work(&attempt, claimed.failures.saturating_add(1));
        Self {
            session,
            attempt,
            previous_interval: claimed.previous_interval.map(Seconds::from_db),
            failures: claimed.failures,
            provided: claimed.provided,
            span,
            is_over: false,
            meter,
            _in_flight: in_flight,
        }
    }

    /// The attempt has ended: there is nothing left to cancel.
    pub(crate) fn close(mut self, outcome: Outcome, rest: Option<RestCause>) {
        self.is_over = true;
        self.meter.end(outcome);
        if rest.is_some() {
            self.meter.rests();
        }
        self.session.claimed_fences.forget(self.attempt.fence);
        // The machine may be due again now, or at the end of a backoff that this program has not seen.
        let component = &self.session.component;
        component.listener.wake(&self.attempt.process);
    }

    /// The session does not have the attempt any more. It is canceled in the background all the same,
    /// to be sure that the machine is free.
    pub(crate) fn lose(mut self) {
        self.meter.end(Outcome::Expired);
    }
}

impl Drop for OpenAttempt {
    fn drop(&mut self) {
        if !self.is_over {
            self.meter.end(match self.session.lease().state() {
                SessionState::Lost => Outcome::Expired,
                SessionState::Live | SessionState::Suspect => Outcome::Canceled,
            });
            let fences = self.session.claimed_fences.clone();
            let task = CleanupTask::CancelDropped(self.attempt.clone(), fences);
            self.session.component.cleanup.add(task);
        }
    }
}

impl std::fmt::Debug for OpenAttempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("machine", &self.attempt.machine)
            .field("process", &self.attempt.process)
            .field("fence", &self.attempt.fence)
            .finish_non_exhaustive()
    }
}
