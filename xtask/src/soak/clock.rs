//! A wrong wall clock for one worker, by libfaketime. Its monotonic clock is left alone.

use crate::shell::Failure;
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Where distributions put it; `*` is the machine's name for its architecture.
const PLACES: &[&str] = &[
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
];

#[derive(Debug)]
pub(crate) struct Clock {
    library: PathBuf,
    /// What it reads the time from.
    file: PathBuf,
    /// The worker that it rules.
    pub(crate) place: usize,
}

impl Clock {
    /// `None` where libfaketime is not installed.
    pub(crate) fn find(folder: &Path, place: usize) -> Option<Self> {
        let library = PLACES.iter().find_map(|place| installed(place))?;
        Some(Self {
            library,
            file: folder.join("clock"),
            place,
        })
    }

    pub(crate) fn rule(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
    }

    /// The worker's clock is wrong by that many seconds from now on, or within one.
    pub(crate) fn set(&self, offset: i64) -> Result<(), Failure> {
        // In one step, or it is read while it is empty.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{offset:+}\n"))
            .and_then(|()| fs::rename(&new, &self.file))
            .map_err(Failure::check)
    }
}

/// Removes what the library shares between processes, of one that was killed.
pub(crate) fn forget(pid: Pid) {
    for name in [
        format!("faketime_shm_{pid}"),
        format!("sem.faketime_sem_{pid}"),
    ] {
        // There is none where the process was not ruled, or has ended by itself.
        let _ = fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

fn installed(place: &str) -> Option<PathBuf> {
    let Some((before, after)) = place.split_once('*') else {
        return Some(PathBuf::from(place)).filter(|path| path.is_file());
    };
    let folders = fs::read_dir(before).ok()?;
    let candidates = folders
        .flatten()
        .map(|folder| folder.path().join(after.trim_start_matches('/')));
    candidates.into_iter().find(|path| path.is_file())
}
