//! The lease on a server: a named pipe in its folder, which the supervisor reads and everybody who
//! uses the server holds open for writing. The kernel tells the supervisor when the last of them is
//! gone, by whatever death, so nothing is counted and nothing goes stale.
//!
//! Who joins writes a line. That is how the supervisor tells, once it has closed the pipe to
//! newcomers by renaming it, whether somebody came in the last moment: what was written or is still
//! open is there to be read, and nobody can come any more. So nobody ever holds the lease of a
//! server that its supervisor is stopping.

use crate::TestkitError;
use crate::os_user::OsUser;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The pipe's name while anybody may join.
pub(crate) const OPEN: &str = "lease";
/// Its name once the supervisor is about to stop the server.
pub(crate) const CLOSED: &str = "closed";

/// Keeps a server alive for as long as it exists. Programs that this process starts do not inherit
/// it.
#[derive(Debug)]
pub(crate) struct Lease {
    _pipe: File,
}

impl Lease {
    /// Makes the pipe in a new folder, and is the first to hold it.
    pub(crate) fn create(folder: &Path, account: &OsUser) -> Result<Self, TestkitError> {
        let path = folder.join(OPEN);
        nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(io::Error::from)
            .map_err(TestkitError::files(&path))?;
        account.give(&path)?;
        // Both ends: either alone would wait for the other, and the folder is not taken for an
        // abandoned one as long as this process has use for it, supervised or not.
        let pipe = OpenOptions::new().read(true).write(true).open(&path);
        Ok(Self {
            _pipe: pipe.map_err(TestkitError::files(&path))?,
        })
    }

    /// The supervisor's end.
    pub(crate) fn reader(folder: &Path) -> Result<File, TestkitError> {
        let path = folder.join(OPEN);
        File::open(&path).map_err(TestkitError::files(&path))
    }

    /// Takes part in the lease of the server in this folder; nothing where that server is gone or
    /// about to go.
    pub(crate) fn join(folder: &Path) -> Option<Self> {
        let path = folder.join(OPEN);
        let mut pipe = open_if_read(&path).ok()?;
        pipe.write_all(b"joined\n").ok()?;
        // Opening takes a moment. Had the supervisor closed the pipe in between, it might not have
        // seen us; if the name is still there, it looks only after this.
        path.exists().then_some(Self { _pipe: pipe })
    }
}

/// Whether the server in this folder has a supervisor, who will remove it when it is time.
pub(crate) fn is_supervised(folder: &Path) -> bool {
    [OPEN, CLOSED]
        .iter()
        .any(|name| open_if_read(&folder.join(name)).is_ok())
}

/// Opens a pipe for writing if somebody has it open for reading.
fn open_if_read(path: &Path) -> io::Result<File> {
    // Without waiting for a reader: where there is none, opening fails.
    OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
}

#[cfg(test)]
mod tests;
