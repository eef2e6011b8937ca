//! `cargo xtask tidy`: checks the project's rules that the compiler does not check.

mod circles;
mod claims;
mod files;
mod finding;
mod imports;
mod links;
mod manifests;
mod packaged;
mod rooms;
mod source;
mod text;
mod tokens;
mod words;

use bmdb_shell::{Done, Failure, root};

/// Check the project's rules that the compiler does not check.
///
/// Layers: bmdb-backoff is pure, bmdb-model starts no tasks, bmdb-core contains no SQL, production
/// code does not depend on bmdb-testkit, xtask does not compile the product. Files: no circles of
/// imports, rooms of bmdb-core import only lower ones, one vocabulary, no long files, working links.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run() -> Done {
    let root = root();
    let files = files::read_all(&root).map_err(Failure::check)?;
    let mut findings = manifests::check(&files)?;
    findings.extend(claims::check(&files));
    let imports = imports::of_all(&files);
    findings.extend(circles::check(&imports));
    findings.extend(rooms::check(&files, &imports));
    findings.extend(links::check(&root, &files));
    for (path, text) in &files {
        findings.extend(text::check(path, text));
        findings.extend(words::check(path, text));
        if path.ends_with(".rs") {
            findings.extend(source::check(path, text));
            findings.extend(packaged::check(path, text));
        }
    }
    findings.extend(text::stale_exceptions(&files));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files", files.len());
            Ok(())
        }
        n => Err(Failure::check(format!("{n} rules are broken"))),
    }
}
