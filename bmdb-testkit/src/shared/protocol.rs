//! The words in the cache: files that tell in which folder the shared server of a kind lies.

use crate::lease::is_supervised;
use crate::limit::try_lock;
use crate::os_user::OsUser;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The end of the name of a word's lock, which whoever writes or removes the word holds.
const LOCK: &str = ".lock";
/// The end of a word's name while it is written.
const NEW: &str = ".new";

/// The name of the word about the servers that have this key.
pub(super) fn name(account: &OsUser, key: u64) -> String {
    format!("{}{key:016x}", prefix(account))
}

fn prefix(account: &OsUser) -> String {
    format!("shared-{}-", account.uid)
}

pub(super) fn lock(cache: &Path, name: &str) -> PathBuf {
    cache.join(format!("{name}{LOCK}"))
}

pub(super) fn new(cache: &Path, name: &str) -> PathBuf {
    cache.join(format!("{name}{NEW}"))
}

/// Removes this account's words about servers that are gone, with all that belongs to them. Each path
/// by which a server is found, and each set of options, has a word of its own, which would stay for
/// ever.
///
/// A server that only another container can see, which has the cache in common with this one, counts
/// as gone. That costs the next comer there a boot.
///
/// Best effort: what stays costs little, and the next boot tries again.
pub(super) fn remove_dead(cache: &Path, account: &OsUser) {
    let prefix = prefix(account);
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
        let word = cache.join(&name);
        if lives(&word) {
            continue;
        }
        // Who has it is about to boot a server, and to write the word.
        let lock = lock(cache, &name);
        let Ok(Some(_gate)) = try_lock(&lock) else {
            continue;
        };
        // There may be another one since.
        if !lives(&word) {
            // The lock last: from then on the next comer has another.
            for file in [word, new(cache, &name), lock] {
                let _ = fs::remove_file(file);
            }
        }
    }
}

/// Whether somebody may be using, or may yet join, the server that a word tells of.
fn lives(word: &Path) -> bool {
    fs::read_to_string(word).is_ok_and(|folder| is_supervised(Path::new(&folder)))
}
