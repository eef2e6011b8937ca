//! Pause watch: stops attempts that a pause of their process asks to stop.

use crate::lock::lock;
use crate::session::Session;
use bmdb_model::internal::process_control;
use bmdb_model::{Fence, Process};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// The tokens of the attempts that run, by their fences.
#[derive(Debug, Default)]
pub(super) struct StopTokens {
    running: Mutex<HashMap<Fence, CancellationToken>>,
}

/// An attempt that can be stopped, until this is dropped.
#[derive(Debug)]
pub(super) struct Stoppable {
    tokens: Arc<StopTokens>,
    fence: Fence,
}

impl StopTokens {
    /// An attempt that begins to run, and its token.
    pub(super) fn add(self: &Arc<Self>, fence: Fence, token: CancellationToken) -> Stoppable {
        lock(&self.running).insert(fence, token);
        Stoppable {
            tokens: self.clone(),
            fence,
        }
    }

    fn is_empty(&self) -> bool {
        lock(&self.running).is_empty()
    }

    fn stop(&self, fence: Fence) -> bool {
        let running = lock(&self.running);
        let token = running.get(&fence).filter(|token| !token.is_cancelled());
        token.inspect(|token| token.cancel()).is_some()
    }
}

impl Drop for Stoppable {
    fn drop(&mut self) {
        lock(&self.tokens.running).remove(&self.fence);
    }
}

/// Looks as often as the session sends heartbeats, and only while attempts run. Returns a future that never
/// ends and does not keep the session open.
pub(super) fn watch(
    session: &Session,
    process: Process,
    tokens: Arc<StopTokens>,
) -> impl Future<Output = ()> + Send + 'static + use<> {
    let component = session.inner.component.clone();
    let interval = session.inner.lease().terms.beat();
    let session = session.id();
    async move {
        loop {
            tokio::time::sleep(interval).await;
            if tokens.is_empty() {
                continue;
            }
            let process = &process;
            let stopping = component
                .database
                .run(async |conn| Ok(process_control::stopping(conn, process, session).await?));
            match stopping.await {
                Ok(stopping) => {
                    for (fence, reason) in stopping {
                        if tokens.stop(fence) {
                            tracing::warn!(%fence, "an attempt is stopped: {reason}");
                        }
                    }
                }
                // The next look is soon.
                Err(error) => tracing::debug!(%error, "pauses could not be looked up"),
            }
        }
    }
}
