//! In-flight counter: how many operations and attempts have begun and not ended.

use tokio::sync::watch;

/// The number of things in flight. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct InFlight(watch::Sender<usize>);

/// Counts one thing as in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlightGuard(watch::Sender<usize>);

impl InFlight {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(crate) fn begin(&self) -> InFlightGuard {
        self.0.send_modify(|count| *count += 1);
        InFlightGuard(self.0.clone())
    }

    /// Resolves when nothing is in flight.
    pub(crate) async fn idle(&self) {
        let mut count = self.0.subscribe();
        // Fails only without a sender, and `self` owns one.
        drop(count.wait_for(|count| *count == 0).await);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
