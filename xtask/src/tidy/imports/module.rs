//! Module tree of a crate, and what a path in it names.

use super::names::{Names, Use};
use crate::tidy::files::TextFile;
use std::collections::BTreeMap;

/// A module with a file of its own.
#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) file: String,
    /// What the file imports by `use`, with the line.
    pub(super) imports: Vec<(usize, Vec<String>)>,
    /// What the file re-exports by `pub use`, with the line.
    pub(super) re_exports: Vec<(usize, Vec<String>)>,
    /// Names that `use` brings in, whether re-exported or not.
    used: BTreeMap<String, Vec<String>>,
    re_exported: BTreeMap<String, Vec<String>>,
}

/// Where a path leads: to a file, and to a name in it unless it names the module itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) name: Option<String>,
}

/// The modules of a crate by their path; the root's is empty.
#[derive(Debug, Default)]
pub(super) struct Modules(BTreeMap<Vec<String>, Module>);

/// Longer chains of re-exports are circles themselves.
const MOST_RE_EXPORTS: usize = 8;

impl Modules {
    pub(super) fn read(root: &str, files: &[TextFile]) -> Self {
        let mut modules = Self::default();
        modules.add(Vec::new(), root, files);
        modules
    }

    fn add(&mut self, path: Vec<String>, file: &str, files: &[TextFile]) {
        let Some((_, text)) = files.iter().find(|(name, _)| name == file) else {
            return;
        };
        let names = Names::of(text);
        for child in &names.modules {
            let candidates = child_files(file, child);
            let existing = candidates
                .iter()
                .find(|candidate| files.iter().any(|(name, _)| name == *candidate));
            if let Some(existing) = existing {
                let mut of_child = path.clone();
                of_child.push(child.clone());
                self.add(of_child, existing, files);
            }
        }
        let mut module = Module {
            file: file.to_owned(),
            ..Module::default()
        };
        for Use {
            line,
            path,
            name,
            is_re_export,
        } in names.uses
        {
            module.used.insert(name.clone(), path.clone());
            if is_re_export {
                module.re_exports.push((line, path.clone()));
                module.re_exported.insert(name, path);
            } else {
                module.imports.push((line, path));
            }
        }
        self.0.insert(path, module);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Vec<String>, &Module)> {
        self.0.iter()
    }

    /// What a path in the module `at` names; nothing where it leads out of the crate.
    pub(super) fn resolve(&self, at: &[String], path: &[String]) -> Option<Place> {
        self.resolve_within(at, path, MOST_RE_EXPORTS)
    }

    fn resolve_within(&self, at: &[String], path: &[String], left: usize) -> Option<Place> {
        let left = left.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        let mut here = at.to_vec();
        match first.as_str() {
            "crate" => here.clear(),
            "self" => {}
            "super" => {
                here.pop()?;
            }
            name => {
                if self.0.contains_key(&joined(at, name)) {
                    here.push(name.to_owned());
                } else {
                    let used = self.0.get(at)?.used.get(name)?;
                    // A name that stands for itself would never end.
                    if used.first().is_some_and(|first| first == name) {
                        return None;
                    }
                    return self.resolve_within(at, &[used, rest].concat(), left);
                }
            }
        }
        self.walk(here, rest, left)
    }

    fn walk(&self, mut here: Vec<String>, rest: &[String], left: usize) -> Option<Place> {
        let mut rest = rest.iter();
        while let Some(name) = rest.next() {
            if name == "super" {
                here.pop()?;
            } else if name != "self" {
                let below = joined(&here, name);
                if self.0.contains_key(&below) {
                    here = below;
                    continue;
                }
                let module = self.0.get(&here)?;
                if let Some(path) = module.re_exported.get(name) {
                    let whole: Vec<String> = path.iter().chain(rest).cloned().collect();
                    return self.resolve_within(&here, &whole, left);
                }
                return Some(Place {
                    file: module.file.clone(),
                    name: Some(name.clone()),
                });
            }
        }
        Some(Place {
            file: self.0.get(&here)?.file.clone(),
            name: None,
        })
    }
}

fn joined(path: &[String], name: &str) -> Vec<String> {
    let mut joined = path.to_vec();
    joined.push(name.to_owned());
    joined
}

/// Where the file of a module may be that `file` declares.
fn child_files(file: &str, child: &str) -> [String; 2] {
    let folder = folder(file);
    [
        format!("{folder}/{child}.rs"),
        format!("{folder}/{child}/mod.rs"),
    ]
}

/// Whether a file is that of a module below the module of another file.
pub(super) fn is_below(file: &str, above: &str) -> bool {
    let below = file.strip_prefix(folder(above));
    below.is_some_and(|below| below.starts_with('/'))
}

/// The folder with the modules that a file declares.
fn folder(file: &str) -> &str {
    match file.strip_suffix(".rs") {
        Some(stem) => match stem.rsplit_once('/') {
            Some((folder, "lib" | "main" | "mod")) => folder,
            _ => stem,
        },
        None => file,
    }
}
