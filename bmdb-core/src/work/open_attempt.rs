//! Open attempt: what a session has claimed and not ended yet.

use crate::session::SessionInner;
use crate::session::cleanup::Chore;
use crate::session::lease::SessionState;
use crate::telemetry;
use crate::work::in_flight::InProgress;
use bmdb_backoff::Seconds;
use bmdb_model::Process;
use bmdb_model::history::Outcome;
use bmdb_model::internal::work::{Attempt, Claimed};
use std::sync::Arc;
use tracing::Span;

/// What a [`Work`](crate::Work) is made of. One that is dropped without an end is canceled in the
/// background.
pub(crate) struct OpenAttempt {
    pub(crate) session: Arc<SessionInner>,
    pub(crate) attempt: Attempt,
    pub(crate) previous_interval: Option<Seconds>,
    pub(crate) failures: i64,
    pub(crate) span: Span,
    is_over: bool,
    meter: telemetry::Held,
    /// Draining waits for it.
    _in_progress: InProgress,
}

impl OpenAttempt {
    pub(crate) fn new(session: Arc<SessionInner>, process: Process, claimed: Claimed) -> Self {
        session.holdings.remember(claimed.fence);
        let in_progress = session.component.progress.begin();
        let waited = claimed.ready_at.map(|ready| claimed.started_at - ready);
        session.component.tally.started(&process, waited);
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
            span,
            is_over: false,
            meter,
            _in_progress: in_progress,
        }
    }

    /// The attempt has ended: there is nothing left to give back.
    pub(crate) fn close(mut self, outcome: Outcome) {
        self.is_over = true;
        self.meter.end(outcome);
        self.session.holdings.forget(self.attempt.fence);
        // The machine may be due again now, or at the end of a backoff that this program has not seen.
        let component = &self.session.component;
        component.wakeups.wake(&self.attempt.process);
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
            let holdings = self.session.holdings.clone();
            let chore = Chore::GiveBack(self.attempt.clone(), holdings);
            self.session.component.chores.add(chore);
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
