//! File locks between processes. The kernel releases a lock with its process, so a lock file that is
//! left over blocks no other process.

use crate::TestkitError;
use crate::wait::wait_for;
use std::fs::{self, File, Metadata, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Locks a file for as long as the value lives, and creates it if it does not exist. Waits for
/// another process that holds the lock.
pub(crate) fn lock_file(path: &Path, what: &str) -> Result<File, TestkitError> {
    let what = format!("{what} (it holds the lock {})", path.display());
    wait_for(&what, || try_lock_file(path))
}

/// Like [`lock_file`], without waiting: `None` if another process holds the lock.
///
/// The holder may remove the file as its last step before releasing the lock.
pub(crate) fn try_lock_file(path: &Path) -> Result<Option<File>, TestkitError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(TestkitError::files(path))?;
    match file.try_lock() {
        // A file that was removed since it was opened does not lock out later processes.
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
    use super::{is_at, try_lock_file};
    use std::env;
    use std::fs::{self, File};

    #[test]
    fn a_lock_is_exclusive_until_its_file_is_removed() {
        let path = env::temp_dir().join(format!("bmdb-lock-{}", crate::id::random()));
        let first = try_lock_file(&path).unwrap().unwrap();
        assert!(try_lock_file(&path).unwrap().is_none());
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&path, &first));
        // Another file with the same name is another lock.
        let second = try_lock_file(&path).unwrap().unwrap();
        assert!(!is_at(&path, &first));
        assert!(is_at(&path, &second));
        drop(second);
        assert!(is_at(&path, &File::open(&path).unwrap()));
        fs::remove_file(&path).unwrap();
    }
}
