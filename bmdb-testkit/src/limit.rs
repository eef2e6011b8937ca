//! How long the kit waits for anything before it says so and gives up.

use crate::TestkitError;
use std::env;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Where `BMDB_TESTKIT_TIMEOUT` is not set: a boot takes a tenth of a second, but a machine that
/// compiles on every core can take a hundred times as long.
const DEFAULT: Duration = Duration::from_secs(60);

/// The limit of every wait: `BMDB_TESTKIT_TIMEOUT` in whole seconds, else one minute.
pub(crate) fn limit() -> Duration {
    env::var("BMDB_TESTKIT_TIMEOUT")
        .ok()
        .and_then(|seconds| seconds.trim().parse().ok())
        .map_or(DEFAULT, Duration::from_secs)
}

/// Asks each millisecond until there is an answer.
pub(crate) fn wait_for<T>(
    what: &str,
    mut answer: impl FnMut() -> Result<Option<T>, TestkitError>,
) -> Result<T, TestkitError> {
    // Monotonic: a clock that is set in between changes nothing.
    let (begun, limit) = (Instant::now(), limit());
    loop {
        if let Some(answer) = answer()? {
            return Ok(answer);
        }
        if begun.elapsed() >= limit {
            return Err(TestkitError::TimedOut {
                what: what.to_owned(),
                limit,
            });
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for something asynchronous.
pub(crate) async fn within_limit<T>(
    what: &str,
    work: impl Future<Output = T>,
) -> Result<T, TestkitError> {
    let limit = limit();
    let timed = tokio::time::timeout(limit, work).await;
    timed.map_err(|_| TestkitError::TimedOut {
        what: what.to_owned(),
        limit,
    })
}

/// Locks a file, made where there is none, for as long as the value lives. The kernel lets go of it
/// with the process, so that a file which is only left over locks nobody out.
pub(crate) fn lock(path: &Path, what: &str) -> Result<File, TestkitError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(TestkitError::files(path))?;
    let what = format!("{what} (it holds the lock {})", path.display());
    wait_for(&what, || match file.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(TestkitError::files(path)(error)),
    })?;
    Ok(file)
}
