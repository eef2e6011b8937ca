//! The cache: the folder of seeds, fetched servers, and the word of which server runs.

use crate::TestkitError;
use crate::os_user::OsUser;
use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder of seeds and of the kit's other lasting files: `BMDB_TESTKIT_CACHE`, else
/// `/var/cache/bmdb-testkit` for root (whose home no other account can enter), else
/// `bmdb-testkit` in the user's cache folder, else in the folder for temporary files.
#[must_use]
pub fn cache_dir(account: &OsUser) -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(cache) = set("BMDB_TESTKIT_CACHE") {
        return PathBuf::from(cache);
    }
    let usual = if account.is_other() {
        Some(PathBuf::from("/var/cache/bmdb-testkit"))
    } else {
        set("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")))
            .map(|cache| cache.join("bmdb-testkit"))
    };
    match usual {
        Some(cache) if is_writable(&cache) => cache,
        _ => env::temp_dir().join(format!("bmdb-testkit-{}", account.uid)),
    }
}

/// Whether files can be made in it, or where it does not exist whether it could be made.
fn is_writable(cache: &Path) -> bool {
    use nix::unistd::{AccessFlags, access};
    let nearest = cache.ancestors().find(|folder| folder.exists());
    nearest.is_some_and(|folder| access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok())
}

/// The cache, made where it does not exist, and certainly ours.
pub(crate) fn make_cache(account: &OsUser) -> Result<PathBuf, TestkitError> {
    let cache = cache_dir(account);
    if !cache.is_dir() {
        fs::create_dir_all(&cache).map_err(TestkitError::files(&cache))?;
        // Whatever the umask says: another account has to come through to its seed, and where
        // there is none nobody else has business here.
        let mode = if account.is_other() { 0o755 } else { 0o700 };
        fs::set_permissions(&cache, fs::Permissions::from_mode(mode))
            .map_err(TestkitError::files(&cache))?;
    }
    // A folder below the one for temporary files has a name anybody can guess and take first.
    let owner = fs::metadata(&cache)
        .map_err(TestkitError::files(&cache))?
        .uid();
    if account.is_other() || owner == account.uid || owner == 0 {
        return Ok(cache);
    }
    Err(TestkitError::boot(
        "preparing the cache",
        format!(
            "{} belongs to user {owner}; remove it or set BMDB_TESTKIT_CACHE to another folder",
            cache.display()
        ),
    ))
}

/// Removes the folders in this one that have a name of this kind and have not been touched for so
/// long.
///
/// Best effort: what stays costs space and nothing else.
pub(crate) fn remove_old(folder: &Path, is_meant: impl Fn(&str) -> bool, age: Duration) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let meant = entry.file_name().to_str().is_some_and(&is_meant);
        // A time of the future, as after a clock was set back, counts as new.
        if meant && age_of(&entry.path()).is_some_and(|old| old > age) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn age_of(path: &Path) -> Option<Duration> {
    fs::symlink_metadata(path)
        .ok()?
        .modified()
        .ok()?
        .elapsed()
        .ok()
}
