//! Ending a run before its time: Ctrl-C.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Whether the run is to end, and sleeps that end with it.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// The first Ctrl-C requests the end; the second removes `folder` and ends this process. The workers
    /// and the servers notice that and end too.
    pub(crate) fn on_interrupt(folder: PathBuf) -> Self {
        let (request, requested) = watch::channel(false);
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_err() {
                return;
            }
            eprintln!("\ninterrupted: ending the workers; press Ctrl-C again to give up");
            // Without a receiver the run has ended already.
            let _ = request.send(true);
            let _ = tokio::signal::ctrl_c().await;
            let _ = fs::remove_dir_all(folder);
            std::process::exit(1);
        });
        Self(requested)
    }

    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Sleeps until `then`, or until the end is requested.
    pub(crate) async fn sleep_until(&self, then: Instant) {
        let mut requested = self.0.clone();
        if let Ok(Err(_)) = timeout_at(then, requested.wait_for(|stop| *stop)).await {
            // Without signals nothing can request the end.
            tokio::time::sleep_until(then).await;
        }
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.sleep_until(Instant::now() + time).await;
    }
}
