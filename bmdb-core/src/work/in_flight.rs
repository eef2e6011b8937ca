//! Counting what is in progress, for those who wait until nothing is.

use tokio::sync::watch;

/// How many things are in progress.
#[derive(Debug, Clone)]
pub(crate) struct Progress(watch::Sender<usize>);

/// Something that is in progress until this is dropped.
#[derive(Debug)]
pub(crate) struct InProgress(watch::Sender<usize>);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(crate) fn begin(&self) -> InProgress {
        self.0.send_modify(|count| *count += 1);
        InProgress(self.0.clone())
    }

    /// Resolves when nothing is in progress.
    pub(crate) async fn idle(&self) {
        let mut count = self.0.subscribe();
        // Fails only without a sender, and that lives in `self`.
        drop(count.wait_for(|count| *count == 0).await);
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
