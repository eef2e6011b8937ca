//! The folder of a proxy's unix socket.

use crate::socket::{self, PORT};
use crate::{TestkitError, id};
use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A socket's path must fit into 104 bytes on macOS and 108 on Linux.
const MAX_PATH: usize = 99;

/// Dropping it removes the folder with its socket.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Self, TestkitError> {
        let name = format!("bmdb-proxy-{}", id::random());
        let fits = |folder: &Path| {
            folder.is_absolute()
                && socket::path(&folder.join(&name), PORT).as_os_str().len() <= MAX_PATH
                && folder.to_str().is_some()
        };
        let parent = Some(env::temp_dir()).filter(|temporary| fits(temporary));
        let folder = parent.unwrap_or_else(|| PathBuf::from("/tmp")).join(name);
        let created = DirBuilder::new().mode(0o700).create(&folder);
        created.map_err(|source| TestkitError::Listen {
            address: folder.display().to_string(),
            source,
        })?;
        Ok(Self(folder))
    }

    pub(super) fn socket(&self) -> PathBuf {
        socket::path(&self.0, PORT)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: an empty temporary folder does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
