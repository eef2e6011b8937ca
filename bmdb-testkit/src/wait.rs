//! Waiting with the kit's timeout.

use crate::TestkitError;
use crate::timeout::timeout;
use std::thread;
use std::time::{Duration, Instant};

/// Calls `answer` each millisecond until it returns something. Blocks.
pub(crate) fn wait_for<T>(
    what: &str,
    mut answer: impl FnMut() -> Result<Option<T>, TestkitError>,
) -> Result<T, TestkitError> {
    // A monotonic clock, so that setting the system's time changes nothing.
    let begun = Instant::now();
    loop {
        if let Some(answer) = answer()? {
            return Ok(answer);
        }
        if begun.elapsed() >= timeout() {
            return Err(TestkitError::timed_out(what));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for a future.
pub(crate) async fn within_timeout<T>(
    what: &str,
    work: impl Future<Output = T>,
) -> Result<T, TestkitError> {
    let timed = tokio::time::timeout(timeout(), work).await;
    timed.map_err(|_| TestkitError::timed_out(what))
}
