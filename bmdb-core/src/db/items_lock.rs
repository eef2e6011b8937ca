//! Tries of a change that needs the lock on all work items.
//!
//! While it waits for the lock, later claims and ends wait too. So each try waits briefly, and a pause follows
//! that is at least as long, in which they go on.

use crate::db::retry::Delays;
use crate::error::TxError;
use bmdb_model::Process;
use bmdb_model::internal::items_lock::LOCK_TIMEOUT;
use std::time::Duration;
use tokio::time::Instant;

/// For how long a change is tried.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

pub(crate) struct Tries {
    began: Instant,
    pauses: Delays,
}

impl Tries {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            pauses: Delays::new(LOCK_TIMEOUT, LOCK_TIMEOUT.saturating_mul(4)),
        }
    }

    /// Waits before the next try; if there is to be none, returns for how many whole seconds it was tried.
    pub(crate) async fn pause(
        &mut self,
        process: &Process,
        error: &TxError,
    ) -> Result<(), Duration> {
        let pause = LOCK_TIMEOUT + self.pauses.next();
        let waited = self.began.elapsed();
        if waited + pause > GIVE_UP_AFTER {
            return Err(Duration::from_secs(waited.as_secs()));
        }
        tracing::info!(%process, %error, ?pause, "a change is blocked and will be retried");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
