//! Address files in the cache: each names the folder of the shared server of one configuration.

use crate::file_lock::try_lock_file;
use crate::lease::is_supervised;
use crate::os_user::OsUser;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The end of the name of an address file's lock, which a process holds to write or remove the file.
const LOCK: &str = ".lock";
/// The end of an address file's name while it is written.
const NEW: &str = ".new";

/// The name of the address file for the configuration with this key.
pub(super) fn name(user: &OsUser, key: u64) -> String {
    format!("{}{key:016x}", prefix(user))
}

fn prefix(user: &OsUser) -> String {
    format!("shared-{}-", user.uid)
}

pub(super) fn lock(cache: &Path, name: &str) -> PathBuf {
    cache.join(format!("{name}{LOCK}"))
}

pub(super) fn new(cache: &Path, name: &str) -> PathBuf {
    cache.join(format!("{name}{NEW}"))
}

/// Removes this user's address files of servers that are gone, with their locks. Every path by which a
/// server is found and every set of options has a file of its own, which would stay forever.
///
/// A server in another container that shares this cache looks gone if its folder is not visible here.
/// Then the next process there boots another server.
///
/// Best effort: the files are small, and the next boot tries again.
pub(super) fn remove_dead(cache: &Path, user: &OsUser) {
    let prefix = prefix(user);
    let name = |file: &str| {
        let name = file.strip_suffix(LOCK).or_else(|| file.strip_suffix(NEW));
        let name = name.unwrap_or(file);
        let key = name.strip_prefix(&prefix)?;
        let is_key = key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_key.then(|| name.to_owned())
    };
    let files = fs::read_dir(cache).into_iter().flatten().flatten();
    let names: BTreeSet<String> = files
        .filter_map(|file| file.file_name().to_str().and_then(name))
        .collect();
    for name in names {
        let address = cache.join(&name);
        if is_alive(&address) {
            continue;
        }
        // A process that holds the lock is about to boot a server and to write the file.
        let lock = lock(cache, &name);
        let Ok(Some(_lock)) = try_lock_file(&lock) else {
            continue;
        };
        // Another process may have written it before this one got the lock.
        if !is_alive(&address) {
            // The lock last: once its file is gone, the next process uses another lock.
            for file in [address, new(cache, &name), lock] {
                let _ = fs::remove_file(file);
            }
        }
    }
}

/// Whether processes may use or join the server that an address file names.
fn is_alive(address: &Path) -> bool {
    fs::read_to_string(address).is_ok_and(|folder| is_supervised(Path::new(&folder)))
}
