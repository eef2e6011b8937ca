//! Import graph: which file of a crate uses what is defined in which other file.
//!
//! An import is a path in a `use` or in an expression, type or macro call. A re-export (`pub use`) is
//! followed to the file that defines the name; it is an import itself unless that file is below the
//! re-exporting module. Unit tests do not count. Neither do calls of methods, which name no file.

mod module;
mod names;

use super::files::TextFile;
use super::tokens::{self, Kind, Token};
use module::{Modules, Place, is_below};
use std::collections::BTreeMap;

/// The name of a glob import.
pub(super) const GLOB: &str = "*";

/// One file uses a name that another one defines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: String,
    pub(super) line: usize,
    pub(super) to: String,
    pub(super) name: String,
}

/// The imports between the files of each crate, in the order of files and lines.
pub(super) fn of_all(files: &[TextFile]) -> Vec<Import> {
    let roots = files
        .iter()
        .filter(|(path, _)| path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs"));
    let mut imports: Vec<Import> = roots.flat_map(|(root, _)| of_crate(root, files)).collect();
    imports.sort();
    imports.dedup();
    imports
}

fn of_crate(root: &str, files: &[TextFile]) -> Vec<Import> {
    let modules = Modules::read(root, files);
    let mut imports = Vec::new();
    for (at, module) in modules.iter() {
        let text = files.iter().find(|(path, _)| *path == module.file);
        let Some((_, text)) = text else { continue };
        let mut add = |line, path: &[String], is_re_export: bool| {
            let Some(Place {
                file,
                name: Some(name),
            }) = modules.resolve(at, path)
            else {
                return;
            };
            let is_own = file == module.file || (is_re_export && is_below(&file, &module.file));
            if !is_own || (name == GLOB && file != module.file) {
                imports.push(Import {
                    from: module.file.clone(),
                    line,
                    to: file,
                    name,
                });
            }
        };
        for (line, path) in paths(&tokens::of(text)) {
            add(line, &path, false);
        }
        for (line, path) in &module.imports {
            add(*line, path, false);
        }
        for (line, path) in &module.re_exports {
            add(*line, path, true);
        }
    }
    imports
}

/// Every path of two or more names outside of the file's own `use` items, with its line: in expressions, types
/// and macro calls, and in `use` items within functions.
fn paths(tokens: &[Token]) -> Vec<(usize, Vec<String>)> {
    let mut paths = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        // `use<'a>` captures lifetimes.
        let is_capture = tokens.get(at + 1).is_some_and(|next| next.is_punct('<'));
        if tokens[at].is("use") && !is_capture {
            let length = tokens[at..].iter().take_while(|t| !t.is_punct(';')).count();
            if depth > 0 {
                let mut tree = &tokens[at + 1..at + length];
                use_paths(&mut tree, &[], &mut paths);
            }
            at += length;
            continue;
        }
        let mut path = Vec::new();
        let line = tokens[at].line;
        while let Some(Kind::Ident(name)) = tokens.get(at).map(|token| &token.kind) {
            path.push(name.clone());
            at += 1;
            let colons = tokens.get(at..at + 2);
            if !colons.is_some_and(|two| two.iter().all(|token| token.is_punct(':'))) {
                break;
            }
            at += 2;
        }
        if path.is_empty() {
            at += 1;
        } else if path.len() > 1 {
            paths.push((line, path));
        }
    }
    paths
}

/// Adds the paths of a `use` tree, and takes its tokens up to the end of a group.
fn use_paths(tree: &mut &[Token], before: &[String], paths: &mut Vec<(usize, Vec<String>)>) {
    let (mut path, mut line) = (before.to_vec(), 0);
    let mut is_leaf = false;
    while let Some((token, rest)) = tree.split_first() {
        *tree = rest;
        match &token.kind {
            Kind::Open => {
                use_paths(tree, &path, paths);
                is_leaf = false;
            }
            Kind::Close => break,
            Kind::Punct(',') => {
                if is_leaf {
                    paths.push((line, std::mem::take(&mut path)));
                }
                path = before.to_vec();
                is_leaf = false;
            }
            // The name after it is not a part of the path.
            Kind::Ident(name) if name == "as" => *tree = tree.get(1..).unwrap_or_default(),
            Kind::Ident(name) => {
                path.push(name.clone());
                (line, is_leaf) = (token.line, true);
            }
            Kind::Punct('*') => {
                path.push(GLOB.to_owned());
                (line, is_leaf) = (token.line, true);
            }
            _ => {}
        }
    }
    if is_leaf {
        paths.push((line, path));
    }
}

/// The groups of files that import each other in a circle, each in alphabetical order.
pub(super) fn circles(imports: &[Import]) -> Vec<Vec<&str>> {
    let mut uses: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for import in imports {
        uses.entry(&import.from).or_default().push(&import.to);
    }
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut next) = (Vec::new(), vec![from]);
        while let Some(file) = next.pop() {
            for used in uses.get(file).into_iter().flatten() {
                if *used == to {
                    return true;
                }
                if !seen.contains(used) {
                    seen.push(*used);
                    next.push(used);
                }
            }
        }
        false
    };
    let mut groups: Vec<Vec<&str>> = Vec::new();
    for file in uses.keys() {
        if groups.iter().any(|group| group.contains(file)) || !reaches(file, file) {
            continue;
        }
        let mutual = |other: &&&str| reaches(file, other) && reaches(other, file);
        groups.push(uses.keys().filter(mutual).copied().collect());
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[(&str, &str)]) -> Vec<TextFile> {
        let owned = texts
            .iter()
            .map(|(path, text)| (format!("a/src/{path}"), (*text).to_owned()));
        owned.collect()
    }

    fn found(texts: &[(&str, &str)]) -> Vec<String> {
        let imports = of_all(&files(texts));
        let shown = imports.iter().map(|import| {
            let short = |path: &str| path.trim_start_matches("a/src/").to_owned();
            format!(
                "{} uses {} of {}",
                short(&import.from),
                import.name,
                short(&import.to)
            )
        });
        shown.collect()
    }

    #[test]
    fn a_use_and_a_path_are_imports_of_the_file_that_defines_the_name() {
        let texts = [
            ("lib.rs", "mod b; mod c;"),
            (
                "b.rs",
                "use crate::c::{self, X}; fn f() -> X { c::g(c::Y) }",
            ),
            (
                "c.rs",
                "pub struct X; pub struct Y; pub fn g(_: Y) -> X { X }",
            ),
        ];
        let expected = [
            "b.rs uses X of c.rs",
            "b.rs uses Y of c.rs",
            "b.rs uses g of c.rs",
        ];
        assert_eq!(found(&texts), expected);
    }

    #[test]
    fn a_re_export_is_followed_and_is_no_import() {
        let texts = [
            ("lib.rs", "mod room; mod b;"),
            ("room/mod.rs", "mod inner; pub use inner::X;"),
            ("room/inner.rs", "pub struct X; fn f() { super::X; }"),
            ("b.rs", "use crate::room::X;"),
        ];
        assert_eq!(found(&texts), ["b.rs uses X of room/inner.rs"]);
    }

    #[test]
    fn a_child_that_uses_its_parents_names_imports_it_and_tests_do_not_count() {
        let texts = [
            ("lib.rs", "mod b;"),
            (
                "b.rs",
                "mod c; pub struct X; use c::Y;\n#[cfg(test)] mod tests { use crate::b::c::Z; }\n\
                 #[cfg(all(test, unix))] mod more { use crate::b::c::Z; }",
            ),
            (
                "b/c.rs",
                "use super::X; pub struct Y; pub struct Z; fn f() { format!(\"{}\", super::X) }",
            ),
        ];
        let imports = of_all(&files(&texts));
        let found = found(&texts);
        assert_eq!(
            found[..2],
            ["b.rs uses Y of b/c.rs", "b/c.rs uses X of b.rs"]
        );
        assert!(
            !found.iter().any(|import| import.contains(" Z ")),
            "{found:?}"
        );
        assert_eq!(circles(&imports), [["a/src/b.rs", "a/src/b/c.rs"]]);
    }

    #[test]
    fn a_re_export_of_a_name_from_elsewhere_is_an_import() {
        let texts = [
            ("lib.rs", "mod b; mod c;"),
            ("b.rs", "pub(crate) use crate::c::X; fn f(_: X) {}"),
            ("c.rs", "pub struct X;"),
        ];
        assert_eq!(found(&texts), ["b.rs uses X of c.rs"]);
    }

    #[test]
    fn a_use_within_a_function_is_an_import() {
        let texts = [
            ("lib.rs", "mod b; mod c;"),
            (
                "b.rs",
                "fn f() -> impl Sized + use<> { use crate::c::{W as V, d::{X, Y}}; use super::c::Z; }",
            ),
            ("c.rs", "pub struct W; pub struct Z; pub mod d;"),
            ("c/d.rs", "pub struct X; pub struct Y;"),
        ];
        let expected = [
            "b.rs uses W of c.rs",
            "b.rs uses Z of c.rs",
            "b.rs uses X of c/d.rs",
            "b.rs uses Y of c/d.rs",
        ];
        assert_eq!(found(&texts), expected);
    }

    #[test]
    fn imports_in_one_direction_make_no_circle() {
        let texts = [
            ("lib.rs", "mod b; mod c; mod d;"),
            ("b.rs", "use crate::c::X; use crate::d::Y;"),
            ("c.rs", "use crate::d::Y; pub struct X(Y);"),
            ("d.rs", "pub struct Y;"),
        ];
        assert!(circles(&of_all(&files(&texts))).is_empty());
    }
}
