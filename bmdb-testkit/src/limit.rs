//! How long the kit waits for anything before it says so and gives up.

use crate::TestkitError;
use std::env;
use std::fs::{self, File, Metadata, TryLockError};
use std::os::unix::fs::MetadataExt;
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
    let what = format!("{what} (it holds the lock {})", path.display());
    wait_for(&what, || try_lock(path))
}

/// As [`lock`], without waiting: nothing where somebody else has it.
///
/// Whoever has it may remove the file, as the last thing before letting go.
pub(crate) fn try_lock(path: &Path) -> Result<Option<File>, TestkitError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(TestkitError::files(path))?;
    match file.try_lock() {
        // One that was removed since it was opened locks out nobody who comes later.
        Ok(()) => Ok(is_at(path, &file).then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(TestkitError::files(path)(error)),
    }
}

fn is_at(path: &Path, file: &File) -> bool {
    let identity = |data: Metadata| (data.dev(), data.ino());
    let there = fs::metadata(path).map(identity);
    there.is_ok_and(|there| file.metadata().map(identity).is_ok_and(|own| own == there))
}

#[cfg(test)]
mod tests {
    use super::{is_at, try_lock};
    use std::env;
    use std::fs::{self, File};

    #[test]
    fn a_lock_is_ones_own_until_its_file_is_removed() {
        let path = env::temp_dir().join(format!("bmdb-lock-{}", crate::id::random()));
        let first = try_lock(&path).unwrap().unwrap();
        assert!(try_lock(&path).unwrap().is_none());
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&path, &first));
        // Another file under the same name is another lock.
        let second = try_lock(&path).unwrap().unwrap();
        assert!(!is_at(&path, &first));
        assert!(is_at(&path, &second));
        drop(second);
        assert!(is_at(&path, &File::open(&path).unwrap()));
        fs::remove_file(&path).unwrap();
    }
}
