//! The folder of a proxy's unix socket.

use crate::socket::{self, PORT};
use crate::{TestkitError, id};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::{env, io};

/// A socket's whole path must fit into 104 bytes on macOS, 108 on Linux.
const LONGEST: usize = 99;

/// Removed, with the socket in it, when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Self, TestkitError> {
        let name = format!("bmdb-proxy-{}", id::random());
        let fits = |folder: &Path| {
            folder.is_absolute()
                && socket::path(&folder.join(&name), PORT).as_os_str().len() <= LONGEST
                && folder.to_str().is_some()
        };
        let parent = Some(env::temp_dir()).filter(|temporary| fits(temporary));
        let folder = parent.unwrap_or_else(|| PathBuf::from("/tmp")).join(name);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => Ok(Self(folder)),
            Err(source) => Err(not_made(&folder, source)),
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        socket::path(&self.0, PORT)
    }
}

fn not_made(folder: &Path, source: io::Error) -> TestkitError {
    TestkitError::Listen {
        place: folder.display().to_string(),
        source,
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: an empty folder among temporary files does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
