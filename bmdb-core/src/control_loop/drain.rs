//! Leaving in order, within a time that is known beforehand.

use super::ControlLoop;
use super::event::Event;
use super::runner::Run;
use crate::session::Session;
use tokio::time::{Instant, timeout};

impl<L: ControlLoop> Run<L> {
    /// Waits for what runs, hurries it after the limit, and closes the session.
    pub(super) async fn leave(&mut self, session: Option<Session>) {
        let limit = self.options.drain_limit;
        let (running, grace) = (self.running.len(), self.options.grace);
        if running > 0 {
            self.control.on_event(&Event::Draining { running, limit });
        }
        self.give_back.cancel();
        let hurrying = self.shutdown.hurrying().clone();
        tokio::select! {
            () = self.until_idle() => {}
            () = hurrying.cancelled() => {}
            () = tokio::time::sleep(limit) => {}
        }
        // Also those who have begun to end may be waiting for a database that is silent.
        self.hurry.cancel();
        let closing = self.bmdb.component.config.connect_timeout;
        let until = Instant::now() + grace + closing;
        let ended = tokio::time::timeout_at(until, self.until_idle()).await;
        if ended.is_err() {
            self.summary.lost += u64::try_from(self.running.len()).unwrap_or(u64::MAX);
            self.running.abort_all();
            self.undecided.abort_all();
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
        while let Some(done) = self.running.join_next().await {
            self.count(done);
        }
        while self.undecided.join_next().await.is_some() {}
    }
}
