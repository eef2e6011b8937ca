//! Started: the server that `cargo xtask pg start` booted and keeps running.

use bmdb_testkit::{OsUser, cache_dir};
use std::fs;
use std::path::{Path, PathBuf};

/// The server that `start` booted, according to its file.
pub(super) struct Started {
    pub(super) url: String,
    pub(super) folder: PathBuf,
}

impl Started {
    pub(super) fn file(account: &OsUser) -> PathBuf {
        cache_dir(account).join("started")
    }

    /// `None` if no server was started, or if it is gone, as after a reboot.
    pub(super) fn read(account: &OsUser) -> Option<Self> {
        let text = fs::read_to_string(Self::file(account)).ok()?;
        let (url, folder) = text.trim_end().split_once('\n')?;
        Path::new(folder).exists().then(|| Self {
            url: url.to_owned(),
            folder: PathBuf::from(folder),
        })
    }

    pub(super) fn print(&self) {
        println!("export BMDB_TEST_DATABASE_URL='{}'", self.url);
    }
}
