//! Run: the state of a loop that runs, and how it is drained.

use super::ControlLoop;
use super::event::{Event, Outcome, Summary};
use super::host::{FEW, HostHealth, HostWait};
use super::options::LoopOptions;
use super::pause_watch::StopTokens;
use super::shutdown::Shutdown;
use crate::bmdb::Bmdb;
use crate::db::retry::Delays;
use crate::session::Session;
use crate::work::rate_limiter::RateLimiter;
use bmdb_model::MachineId;
use std::collections::HashSet;
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// An attempt that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) machine: MachineId,
    pub(super) outcome: Outcome,
}

/// A loop that runs.
pub(super) struct Run<L> {
    pub(super) bmdb: Bmdb,
    pub(super) control: Arc<L>,
    pub(super) options: Arc<LoopOptions>,
    pub(super) shutdown: Shutdown,
    pub(super) rate_limiter: Option<Arc<RateLimiter>>,
    /// Stops all attempts.
    pub(super) cancel_now: CancellationToken,
    /// The tokens of the attempts that run.
    pub(super) stop_tokens: Arc<StopTokens>,
    /// Stops attempts because of a pause. Ends when it is dropped.
    pub(super) pause_watch: JoinSet<()>,
    /// The attempts of all sessions of the loop.
    pub(super) running: JoinSet<Ended>,
    pub(super) host: HostHealth,
    pub(super) began: Instant,
    /// The machines that were claimed, with [`LoopOptions::once`].
    pub(super) seen: HashSet<MachineId>,
    pub(super) summary: Summary,
}

impl<L: ControlLoop> Run<L> {
    pub(super) fn new(
        bmdb: Bmdb,
        control: Arc<L>,
        options: LoopOptions,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            bmdb,
            control,
            rate_limiter: options.rate.map(|rate| Arc::new(RateLimiter::new(rate))),
            options: Arc::new(options),
            shutdown,
            cancel_now: CancellationToken::new(),
            stop_tokens: Arc::default(),
            pause_watch: JoinSet::new(),
            running: JoinSet::new(),
            host: HostHealth::new(),
            began: Instant::now(),
            seen: HashSet::new(),
            summary: Summary::default(),
        }
    }

    /// Waits for something while attempts continue; `None` at a shutdown.
    pub(super) async fn wait_for<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = pin!(wait);
        let draining = self.shutdown.draining().clone();
        loop {
            tokio::select! {
                biased;
                () = draining.cancelled() => return None,
                Some(()) = self.next_ended() => {}
                value = &mut wait => return Some(value),
            }
        }
    }

    /// Waits before the loop continues after an error that may pass; `None` at a shutdown.
    pub(super) async fn wait_after(
        &mut self,
        error: &(dyn Error + Send + Sync + 'static),
        delays: &mut Delays,
    ) -> Option<()> {
        let delay = delays.next();
        self.control.on_event(&Event::Waiting { error, delay });
        self.wait_for(tokio::time::sleep(delay)).await
    }

    /// Waits for the end of an attempt; `None` when there are none. The one place that counts
    /// attempts that end. Cancellation: nothing is lost.
    pub(super) async fn next_ended(&mut self) -> Option<()> {
        let ended = self.running.join_next().await?;
        match ended {
            Ok(ended) => self.count(&ended),
            // Only `on_event` can panic there. Dropping the work has canceled it.
            Err(error) => {
                tracing::error!(%error, "a control loop's event handler panicked");
                self.summary.canceled += 1;
            }
        }
        Some(())
    }

    fn count(&mut self, ended: &Ended) {
        self.summary.count(&ended.outcome);
        self.host.note(&ended.outcome);
        if matches!(ended.outcome, Outcome::HostFailed { .. }) {
            let process = self.control.workflow();
            self.bmdb.component.meters.host_failed(&process);
            // Nothing was done there, so with `once` it may be tried again.
            self.seen.remove(&ended.machine);
        }
    }

    /// Waits before the loop claims again after failures of the host, unless the session is lost. `None` at a
    /// shutdown.
    pub(super) async fn wait_for_host(&mut self, wait: &HostWait, session: &Session) -> Option<()> {
        let HostWait {
            cause,
            failures,
            delay,
        } = wait;
        self.control.on_event(&Event::HostFailing {
            cause,
            failures: *failures,
            delay: *delay,
        });
        match *failures >= FEW {
            true => tracing::warn!(
                failures,
                ?delay,
                "this host cannot process machines: {cause}"
            ),
            false => tracing::info!(
                failures,
                ?delay,
                "this host cannot process machines: {cause}"
            ),
        }
        let component = self.bmdb.component.clone();
        let wait = async {
            tokio::select! {
                () = tokio::time::sleep(*delay) => Some(()),
                () = session.lost() => Some(()),
                () = component.draining() => None,
            }
        };
        let waited = self.wait_for(wait).await?;
        self.host.waited();
        waited
    }

    /// Waits for the attempts, cancels them after the limit, and closes the session.
    pub(super) async fn drain(&mut self, session: Option<Session>) {
        let limit = self.options.drain_limit;
        let (running, grace) = (self.running.len(), self.options.grace);
        if running > 0 {
            self.control.on_event(&Event::Draining { running, limit });
        }
        let cancel_now = self.shutdown.cancel_now_requested().clone();
        tokio::select! {
            () = self.until_idle() => {}
            () = cancel_now.cancelled() => {}
            () = tokio::time::sleep(limit) => {}
        }
        self.cancel_now.cancel();
        // Attempts that are ending may be waiting for a database that does not answer.
        let closing = self.bmdb.component.config.connect_timeout;
        let until = Instant::now() + grace + closing;
        if timeout_at(until, self.until_idle()).await.is_err() {
            self.summary.lost += u64::try_from(self.running.len()).unwrap_or(u64::MAX);
            self.running.abort_all();
        }
        if let Some(session) = session {
            let left = closing.min(until.saturating_duration_since(Instant::now()));
            // What is not closed in time is closed in the background, or expires.
            match timeout(left, session.close()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the loop's session was not closed"),
                Err(_) => tracing::debug!("the loop's session is closed in the background"),
            }
        }
    }

    async fn until_idle(&mut self) {
        while self.next_ended().await.is_some() {}
    }
}
