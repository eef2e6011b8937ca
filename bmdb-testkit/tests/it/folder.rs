//! A folder of a test's own for programs that stand in for real ones.

use crate::Result;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Removed, with what is in it, when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self> {
        let name = format!("bmdb-folder-{}", uuid::Uuid::new_v4().simple());
        let folder = Self(env::temp_dir().join(name));
        fs::create_dir(folder.path())?;
        // The server's account, when it is another than ours, has to get in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a program at this path below the folder.
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
        // Best effort: a leftover in the folder for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
