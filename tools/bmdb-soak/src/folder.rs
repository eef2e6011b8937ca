//! The folder of the journals: removed at the end of a run, unless they are kept to be read.

use crate::failure::Done;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The folder's name while the run goes on, followed by the id of its process.
const RUNNING: &str = "bmdb-soak-running-";

/// The name of a folder that is kept.
const KEPT: &str = "bmdb-soak-journals-";

#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    kept: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Done<Self> {
        let (parent, id) = (env::temp_dir(), std::process::id());
        sweep(&parent);
        let path = parent.join(format!("{RUNNING}{id}"));
        fs::create_dir_all(&path)?;
        let kept = parent.join(format!("{KEPT}{id}"));
        Ok(Self { path, kept })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the journals are after [`Folder::keep`].
    pub(crate) fn kept(&self) -> &Path {
        &self.kept
    }

    pub(crate) fn keep(self) -> Done {
        // An earlier process may have had the same id.
        let _ = fs::remove_dir_all(&self.kept);
        Ok(fs::rename(&self.path, &self.kept)?)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: the next run removes it otherwise. A folder that is kept has another name.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of runs that were killed.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(RUNNING));
        let Some(Ok(pid)) = pid.map(str::parse) else {
            continue;
        };
        if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
            // Best effort: it may belong to another user.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
