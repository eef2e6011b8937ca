//! The cache: the folder of seeds, fetched servers, and the files that say where a shared server runs.

use crate::TestkitError;
use crate::os_user::OsUser;
use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder of the kit's lasting files: `BMDB_TESTKIT_CACHE`, else `/var/cache/bmdb-testkit` for root
/// (whose home no other user can enter), else `bmdb-testkit` in the user's cache folder, else a folder
/// in the one for temporary files.
#[must_use]
pub fn cache_dir(user: &OsUser) -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(cache) = set("BMDB_TESTKIT_CACHE") {
        return PathBuf::from(cache);
    }
    let usual = if user.is_other() {
        Some(PathBuf::from("/var/cache/bmdb-testkit"))
    } else {
        set("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")))
            .map(|cache| cache.join("bmdb-testkit"))
    };
    match usual {
        Some(cache) if is_writable(&cache) => cache,
        _ => env::temp_dir().join(format!("bmdb-testkit-{}", user.uid)),
    }
}

/// Whether files can be created in it, or whether it can be created.
fn is_writable(cache: &Path) -> bool {
    use nix::unistd::{AccessFlags, access};
    let nearest = cache.ancestors().find(|folder| folder.exists());
    nearest.is_some_and(|folder| access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok())
}

/// The cache folder; it is created if it does not exist, and no other user can have created it.
pub(crate) fn make_cache(user: &OsUser) -> Result<PathBuf, TestkitError> {
    let cache = cache_dir(user);
    if !cache.is_dir() {
        fs::create_dir_all(&cache).map_err(TestkitError::files(&cache))?;
        // Independent of the umask: a server that runs as another user must reach its seed;
        // otherwise only this user may enter.
        let mode = if user.is_other() { 0o755 } else { 0o700 };
        fs::set_permissions(&cache, fs::Permissions::from_mode(mode))
            .map_err(TestkitError::files(&cache))?;
    }
    // Another user can guess the name of a temporary folder and create it first.
    let owner = fs::metadata(&cache)
        .map_err(TestkitError::files(&cache))?
        .uid();
    if user.is_other() || owner == user.uid || owner == 0 {
        return Ok(cache);
    }
    Err(TestkitError::boot(
        "preparing the cache",
        format!(
            "{} belongs to user {owner}; remove it, or set BMDB_TESTKIT_CACHE to another folder",
            cache.display()
        ),
    ))
}

/// Removes the folders in this one whose names match and whose modification is older than `age`.
///
/// Best effort: a folder that stays only costs space.
pub(crate) fn remove_old(folder: &Path, matches: impl Fn(&str) -> bool, age: Duration) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let matches = entry.file_name().to_str().is_some_and(&matches);
        // A time in the future, as after a clock was set back, counts as new.
        if matches && age_of(&entry.path()).is_some_and(|old| old > age) {
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
