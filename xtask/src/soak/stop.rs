//! When a run ends before its time: Ctrl-C.

use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Tells whoever waits that the run is over.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// With the means to stop.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (stop, stopped) = watch::channel(false);
        (stop, Self(stopped))
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.0.borrow()
    }

    /// Sleeps until then, or until the run is over.
    pub(crate) async fn sleep_until(&self, then: Instant) {
        let mut over = self.0.clone();
        // Whoever could stop the run is gone at its end.
        let _ = tokio::time::timeout_at(then, over.wait_for(|over| *over)).await;
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.sleep_until(Instant::now() + time).await;
    }
}
