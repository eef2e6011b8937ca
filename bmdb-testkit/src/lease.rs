//! Lease on a server: a named pipe in its folder, which the supervisor reads and every user of the
//! server holds open for writing. The kernel reports to the supervisor when the last user is gone,
//! however it died, so there is no count that could become wrong.
//!
//! Each process that joins writes a line. Before the supervisor stops the server it renames the pipe,
//! so that no process can join, and then reads: it finds the line, or the open pipe, of every process
//! that joined at the last moment. So no process ever holds the lease of a server that is being
//! stopped.

use crate::TestkitError;
use crate::os_user::OsUser;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The pipe's name while processes can join.
const OPEN: &str = "lease";
/// Its name once the supervisor is about to stop the server.
const CLOSED: &str = "closed";

/// Keeps a server alive for as long as the value exists. Child processes do not inherit it.
#[derive(Debug)]
pub(crate) struct Lease {
    _pipe: File,
}

impl Lease {
    /// Creates the pipe in a new folder, and is its first holder.
    pub(crate) fn create(folder: &Path, user: &OsUser) -> Result<Self, TestkitError> {
        let path = folder.join(OPEN);
        nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(io::Error::from)
            .map_err(TestkitError::files(&path))?;
        user.give(&path)?;
        // Opening either end alone would wait for the other. And as the pipe has a reader, other
        // processes do not take the folder for an abandoned one before the supervisor runs.
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

    /// Joins the lease of the server in this folder; `None` if that server is gone or is about to
    /// stop.
    pub(crate) fn join(folder: &Path) -> Option<Self> {
        let path = folder.join(OPEN);
        let mut pipe = open_if_read(&path).ok()?;
        pipe.write_all(b"joined\n").ok()?;
        // The supervisor may have renamed the pipe, and read it, while this process was opening it. If
        // the name still exists now, the supervisor has yet to read, and will find this line.
        path.exists().then_some(Self { _pipe: pipe })
    }
}

/// Whether the server in this folder has a supervisor, which will remove the folder.
pub(crate) fn is_supervised(folder: &Path) -> bool {
    [OPEN, CLOSED]
        .iter()
        .any(|name| open_if_read(&folder.join(name)).is_ok())
}

/// Opens a pipe for writing if a process has it open for reading.
fn open_if_read(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, opening would wait for a reader; with it, opening fails if there is none.
    OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
}

#[cfg(test)]
mod tests;
