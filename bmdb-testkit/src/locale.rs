//! German messages: a locale for servers that are to speak another language than English.
//!
//! PostgreSQL brings its translations along, and uses those of a locale that the operating system knows. Few
//! containers know any, so the kit compiles one into its cache, where `LOCPATH` points servers to.

use crate::TestkitError;
use crate::cache::make_cache;
use crate::file_lock::lock_file;
use crate::os_user::OsUser;
use std::fs;
use std::path::{Path, PathBuf};

/// The value of `lc_messages` for German.
pub(crate) const GERMAN: &str = "de_DE.UTF-8";

/// The folder for `LOCPATH`; `None` on a system that cannot compile locales, where servers speak English.
pub(crate) fn folder(user: &OsUser) -> Option<PathBuf> {
    find_or_make(user).ok()
}

fn find_or_make(user: &OsUser) -> Result<PathBuf, TestkitError> {
    let cache = make_cache(user)?;
    let folder = cache.join("locale");
    if folder.join(GERMAN).is_dir() {
        return Ok(folder);
    }
    let lock = cache.join("locale.lock");
    let _lock = lock_file(&lock, "another process to compile a locale")?;
    if folder.join(GERMAN).is_dir() {
        return Ok(folder);
    }
    let unfinished = cache.join(format!("unfinished-{}", uuid::Uuid::new_v4().simple()));
    let made = user
        .create_dir(&unfinished)
        .and_then(|()| compile(user, &unfinished.join(GERMAN)))
        .and_then(|()| fs::rename(&unfinished, &folder).map_err(TestkitError::files(&folder)));
    if made.is_err() {
        // Best effort: the first error is the useful one.
        let _ = fs::remove_dir_all(&unfinished);
    }
    made.map(|()| folder)
}

fn compile(user: &OsUser, locale: &Path) -> Result<(), TestkitError> {
    let mut localedef = user.command(Path::new("localedef"));
    localedef.args(["--inputfile=de_DE", "--charmap=UTF-8"]);
    localedef.arg(locale);
    user.run("localedef", localedef)
}
