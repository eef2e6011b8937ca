//! A wrong wall clock for one worker, by libfaketime. Its monotonic clock stays right.

use crate::failure::Done;
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Where distributions install the library; `*` is the machine's name for its architecture.
const PATHS: &[&str] = &[
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
];

#[derive(Debug, Clone)]
pub(crate) struct Clock {
    library: PathBuf,
    /// The file from which the library reads the time.
    file: PathBuf,
    /// The place of the worker whose clock it is.
    pub(crate) place: usize,
}

impl Clock {
    /// `None` if libfaketime is not installed.
    pub(crate) fn find(folder: &Path, place: usize) -> Option<Self> {
        Some(Self {
            library: PATHS.iter().find_map(|path| installed(path))?,
            file: folder.join("clock"),
            place,
        })
    }

    /// Makes the process of this command read this clock.
    pub(crate) fn apply(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
    }

    /// Makes the clock wrong by that many seconds, within a second from now.
    pub(crate) fn set(&self, offset: i64) -> Done {
        // A rename, because the library could read a file that is still empty.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{offset:+}\n"))?;
        Ok(fs::rename(&new, &self.file)?)
    }
}

/// Removes the shared memory that the library leaves behind for a killed process.
pub(crate) fn forget(pid: Pid) {
    for name in [
        format!("faketime_shm_{pid}"),
        format!("sem.faketime_sem_{pid}"),
    ] {
        // Only a process with this clock that was killed has left it.
        let _ = fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

fn installed(path: &str) -> Option<PathBuf> {
    let Some((before, after)) = path.split_once('*') else {
        return Some(PathBuf::from(path)).filter(|path| path.is_file());
    };
    let folders = fs::read_dir(before).ok()?.flatten();
    let mut candidates = folders.map(|folder| folder.path().join(after.trim_start_matches('/')));
    candidates.find(|path| path.is_file())
}
