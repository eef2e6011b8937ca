//! A test's own folder, for programs that replace real ones.

use crate::Result;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Dropping it removes the folder and its contents.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self> {
        let name = format!("bmdb-folder-{}", uuid::Uuid::new_v4().simple());
        let folder = Self(env::temp_dir().join(name));
        fs::create_dir(folder.path())?;
        // The server may run as another user, who must be able to enter.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a program to this path below the folder.
    pub(crate) fn program(&self, name: &str, text: &str) -> Result {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text)?;
        Ok(fs::set_permissions(
            &path,
            fs::Permissions::from_mode(0o755),
        )?)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: a leftover temporary folder does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
