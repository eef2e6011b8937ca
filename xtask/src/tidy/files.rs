//! Files that the rules check.

use std::fs;
use std::io;
use std::path::Path;

/// A path relative to the workspace, with slashes, and the file's text.
pub(super) type TextFile = (String, String);

const EXTENSIONS: &[&str] = &[
    "md", "rs", "sh", "sql", "toml", "yml", "yaml", "html", "css",
];

/// Reads every text file of the workspace that people write.
pub(super) fn read_all(root: &Path) -> io::Result<Vec<TextFile>> {
    let mut files = Vec::new();
    collect(root, root, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<TextFile>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name else { continue };
        if path.is_dir() {
            if !matches!(name, "target" | ".git") {
                collect(root, &path, files)?;
            }
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
        let is_text = extension.is_some_and(|e| EXTENSIONS.contains(&e));
        if is_text || relative.starts_with(".ci/") {
            let text = fs::read_to_string(&path)?;
            files.push((relative.replace('\\', "/"), text));
        }
    }
    Ok(())
}
