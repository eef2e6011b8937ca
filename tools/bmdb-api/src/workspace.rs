//! Workspace: the published libraries and the folders of a checkout, from `cargo metadata`.

use bmdb_shell::{Failure, metadata};
use serde_json::Value;
use std::path::{Path, PathBuf, absolute};

pub(crate) struct Workspace {
    /// The `--manifest-path` for cargo, absolute because cargo runs in another folder.
    pub(crate) manifest: Option<PathBuf>,
    pub(crate) root: PathBuf,
    target: PathBuf,
    /// Names of the packages that are published and have a library.
    pub(crate) libraries: Vec<String>,
}

impl Workspace {
    pub(crate) fn read(manifest: Option<&Path>) -> Result<Self, Failure> {
        let manifest = manifest.map(absolute).transpose().map_err(Failure::usage)?;
        let path = manifest.as_ref().map(|path| path.to_string_lossy());
        let path: Vec<&str> = path
            .iter()
            .flat_map(|path| ["--manifest-path", path])
            .collect();
        let metadata = metadata(&[&["--no-deps"][..], &path].concat())?;
        let folder = |key: &str| PathBuf::from(metadata[key].as_str().unwrap_or_default());
        Ok(Self {
            manifest,
            root: folder("workspace_root"),
            target: folder("target_directory"),
            libraries: libraries(&metadata),
        })
    }

    /// The file that rustdoc writes for a library.
    pub(crate) fn json(&self, library: &str) -> PathBuf {
        let name = library.replace('-', "_");
        self.target.join("doc").join(name).with_extension("json")
    }
}

fn libraries(metadata: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let has_library = |package: &Value| {
        let targets = list(&package["targets"]);
        targets
            .iter()
            .any(|target| list(&target["kind"]).contains(&Value::from("lib")))
    };
    list(&metadata["packages"])
        .iter()
        // In the metadata, `publish = false` is an empty list.
        .filter(|package| package["publish"].is_null() && has_library(package))
        .filter_map(|package| Some(package["name"].as_str()?.to_owned()))
        .collect()
}
