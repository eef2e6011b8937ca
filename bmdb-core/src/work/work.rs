//! Work: an exclusive hold on (machine, process) that outlives transactions.

use crate::db::in_flight::InFlightGuard;
use crate::session::cleanup::CleanupTask;
use crate::session::lease::SessionState;
use crate::telemetry::{self, WorkMeter, WorkResult};
use crate::work::inner::SessionInner;
use bmdb_backoff::Seconds;
use bmdb_model::work::{Attempt, Claimed};
use bmdb_model::{Fence, MachineId, Process};
use chrono::{DateTime, Utc};
use std::sync::Arc;
use tracing::Span;

/// A work item held by a session. It ends exactly once: with [`Work::finish`], [`Work::fail`] or
/// [`Work::cancel`]; one that is dropped is canceled in the background.
#[must_use = "work that is dropped is canceled"]
pub struct Work {
    session: Arc<SessionInner>,
    attempt: Attempt,
    previous_interval: Option<Seconds>,
    failures: i64,
    ended: bool,
    held: WorkMeter,
    span: Span,
    /// Draining waits for it.
    _in_progress: InFlightGuard,
}

impl Work {
    pub(crate) fn new(session: Arc<SessionInner>, process: Process, claimed: Claimed) -> Self {
        session.claimed_fences.remember(claimed.fence);
        let in_progress = session.component.in_flight.begin();
        let waited = claimed.ready_at.map(|ready| claimed.started_at - ready);
        session.component.attempt_counts.started(&process, waited);
        let attempt = Attempt {
            machine: claimed.machine,
            process,
            session: session.lease().session,
            fence: claimed.fence,
            started_at: claimed.started_at,
        };
        let held = session
            .component
            .meters
            .begin(&attempt.process, attempt.fence, session.lease());
        let span = telemetry::work(&attempt, claimed.failures.saturating_add(1));
        let previous_interval = claimed.previous_interval.map(Seconds::from_db);
        Self {
            session,
            attempt,
            previous_interval,
            failures: claimed.failures,
            ended: false,
            held,
            span,
            _in_progress: in_progress,
        }
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> MachineId {
        self.attempt.machine
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.attempt.process
    }

    /// The claim's number. Hand it to external systems, which should refuse smaller ones.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.attempt.fence
    }

    /// When the claim was made, by the database's clock.
    #[must_use]
    pub fn started_at(&self) -> DateTime<Utc> {
        self.attempt.started_at
    }

    /// The interval of the backoff this attempt comes out of; none if the last one did not fail.
    #[must_use]
    pub fn previous_interval(&self) -> Option<Seconds> {
        self.previous_interval
    }

    /// How many times in a row the process has failed on this machine.
    #[must_use]
    pub fn failures(&self) -> i64 {
        self.failures
    }

    /// The span to act on the machine in: it has the session, process, machine, fence, and how many
    /// attempts in a row this is. It is at level info, and the ends of the work are inside.
    ///
    /// ```
    /// use tracing::Instrument;
    ///
    /// async fn reboot(work: &bmdb_core::Work) {
    ///     async { tracing::info!("rebooting") }.instrument(work.span()).await;
    /// }
    /// ```
    #[must_use]
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// Resolves when the session's lease is lost: from then on somebody else may get the machine, so
    /// stop acting on it. See [`Session::lost`](crate::Session::lost).
    pub async fn lost(&self) {
        self.session.lease().lost().await;
    }

    pub(crate) fn session(&self) -> &SessionInner {
        &self.session
    }

    pub(crate) fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// How it ended is known, whatever becomes of this.
    pub(crate) fn count(&mut self, result: WorkResult) {
        self.held.end(result);
    }

    /// The attempt has ended, or is somebody else's: there is nothing to give back.
    pub(crate) fn conclude(mut self) {
        self.ended = true;
        self.session.claimed_fences.forget(self.attempt.fence);
        // The machine may be due again now, or at the end of a backoff that nobody here has seen.
        let component = &self.session.component;
        component.listener.wake(&self.attempt.process);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.ended {
            self.count(match self.session.lease().state() {
                SessionState::Lost => WorkResult::Lost,
                SessionState::Live | SessionState::Suspect => WorkResult::Canceled,
            });
            let claimed_fences = self.session.claimed_fences.clone();
            let chore = CleanupTask::CancelDropped(self.attempt.clone(), claimed_fences);
            self.session.component.cleanup.add(chore);
        }
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("machine", &self.attempt.machine)
            .field("process", &self.attempt.process)
            .field("fence", &self.attempt.fence)
            .finish_non_exhaustive()
    }
}
