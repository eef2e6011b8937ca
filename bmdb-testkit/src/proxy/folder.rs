//! The folder of a proxy's unix socket.

use crate::TestkitError;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::{env, io};

/// Clients look for the socket of a server with port 5432 by this name.
const SOCKET: &str = ".s.PGSQL.5432";

/// A socket's whole path must fit into 104 bytes on macOS, 108 on Linux.
const LONGEST: usize = 99;

/// Removed, with the socket in it, when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Self, TestkitError> {
        let mut id = uuid::Uuid::new_v4().simple().to_string();
        id.truncate(12);
        let name = format!("bmdb-proxy-{id}");
        let fits = |folder: &Path| {
            folder.is_absolute()
                && folder.join(&name).join(SOCKET).as_os_str().len() <= LONGEST
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
        self.0.join(SOCKET)
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
