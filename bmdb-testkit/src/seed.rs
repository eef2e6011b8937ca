//! The seed: a data directory made by initdb once and copied for every server.
//!
//! initdb takes some 300 ms, a copy of its result a tenth of that.

use crate::TestkitError;
use crate::account::Account;
use crate::installation::Installation;
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;

const INITDB: &[&str] = &[
    "--no-sync",
    "--auth=trust",
    "--username=postgres",
    "--encoding=UTF8",
    "--locale=C",
    "--wal-segsize=1",
];

/// The folder of seeds and of the kit's other lasting files: `BMDB_TESTKIT_CACHE`, else
/// `/var/cache/bmdb-testkit` for root (whose home no other account can enter), else
/// `bmdb-testkit` in the user's cache folder, else in the folder for temporary files.
#[must_use]
pub fn cache_dir(account: &Account) -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(cache) = set("BMDB_TESTKIT_CACHE") {
        return PathBuf::from(cache);
    }
    if account.is_other() {
        return PathBuf::from("/var/cache/bmdb-testkit");
    }
    let users = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")))
        .map(|cache| cache.join("bmdb-testkit"));
    match users {
        Some(cache) if fs::create_dir_all(&cache).is_ok() => cache,
        _ => env::temp_dir().join(format!("bmdb-testkit-{}", account.uid)),
    }
}

/// The seed of this installation and account, made first where it is not there yet.
pub(crate) fn seed(
    installation: &Installation,
    account: &Account,
) -> Result<PathBuf, TestkitError> {
    let cache = cache_dir(account);
    make_cache(&cache, account)?;
    let (major, minor) = installation.version();
    let key = crate::hash::fnv(
        [installation.bin().as_os_str().as_encoded_bytes()]
            .into_iter()
            .chain(INITDB.iter().map(|option| option.as_bytes())),
    );
    let name = format!("seed-{major}.{minor}-{}-{key:016x}", account.uid);
    let seed = cache.join(&name);
    if seed.join("PG_VERSION").is_file() {
        return Ok(seed);
    }

    let lock_path = cache.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(TestkitError::files(&lock_path))?;
    lock.lock().map_err(TestkitError::files(&lock_path))?;
    // Another process may have made it while this one waited.
    if seed.join("PG_VERSION").is_file() {
        return Ok(seed);
    }
    let unfinished = cache.join(format!("{name}.{}", process::id()));
    account.create_dir(&unfinished)?;
    let mut initdb = account.command(&installation.program("initdb"));
    initdb.args(INITDB).arg("--pgdata").arg(&unfinished);
    let made = account.run("initdb", initdb).and_then(|()| {
        // Renamed into place, so that a seed is either whole or not there.
        fs::rename(&unfinished, &seed).map_err(TestkitError::files(&seed))
    });
    if made.is_err() {
        // Best effort: the first error is the one worth reading.
        let _ = fs::remove_dir_all(&unfinished);
    }
    made.map(|()| seed)
}

pub(crate) fn make_cache(cache: &Path, account: &Account) -> Result<(), TestkitError> {
    if !cache.is_dir() {
        fs::create_dir_all(cache).map_err(TestkitError::files(cache))?;
        // Whatever the umask says: another account has to come through to its seed, and where
        // there is none nobody else has business here.
        let mode = if account.is_other() { 0o755 } else { 0o700 };
        fs::set_permissions(cache, fs::Permissions::from_mode(mode))
            .map_err(TestkitError::files(cache))?;
    }
    // A folder below the one for temporary files has a name anybody can guess and take first.
    let owner = fs::metadata(cache)
        .map_err(TestkitError::files(cache))?
        .uid();
    if account.is_other() || owner == account.uid || owner == 0 {
        return Ok(());
    }
    Err(TestkitError::boot(
        "preparing the cache",
        format!(
            "{} belongs to user {owner}; remove it or set BMDB_TESTKIT_CACHE to another folder",
            cache.display()
        ),
    ))
}
