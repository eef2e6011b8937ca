//! The folder of the journals: it goes with its run, unless somebody is to read them.

use crate::shell::Failure;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The start of the name while the run goes on; then its process.
const RUNNING: &str = "bmdb-soak-running-";

/// And once it is kept.
const KEPT: &str = "bmdb-soak-journals-";

#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    kept: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Result<Self, Failure> {
        let (parent, id) = (env::temp_dir(), std::process::id());
        sweep(&parent);
        let path = parent.join(format!("{RUNNING}{id}"));
        fs::create_dir_all(&path)
            .map_err(|error| Failure::check(format!("{}: {error}", path.display())))?;
        let kept = parent.join(format!("{KEPT}{id}"));
        Ok(Self { path, kept })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is if it is kept.
    pub(crate) fn kept(&self) -> &Path {
        &self.kept
    }

    /// For somebody to read.
    pub(crate) fn keep(self) -> Result<(), Failure> {
        // Of an earlier process with the same id.
        let _ = fs::remove_dir_all(&self.kept);
        fs::rename(&self.path, &self.kept).map_err(Failure::check)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: the next run does it otherwise. One that is kept is not there.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what runs have left that were killed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(RUNNING));
        let Some(Ok(pid)) = pid.map(str::parse) else {
            continue;
        };
        if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
            // Best effort: it may be somebody else's.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
