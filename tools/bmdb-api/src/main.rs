//! `cargo xtask api`: lists the public API in committed files, so that reviewers see each change.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task reports on the terminal"
)]

mod listing;
mod rustdoc;
mod workspace;

use bmdb_shell::{Done, Failure, exit};
use clap::Parser;
use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use workspace::Workspace;

/// Where the listings are, relative to the workspace.
const FOLDER: &str = "docs/api";

/// List the public API of every published library in docs/api, or check these listings.
///
/// A listing has one public item or trait implementation per line. It leaves out members of trait
/// implementations, code that macros of Diesel generate, hidden items and modules named `internal`.
///
/// Documents the libraries first, which takes less than a minute after a build.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask api", bin_name = "cargo xtask api")]
struct Args {
    /// Write nothing; print the added and removed lines, and exit with 1 if there are any.
    #[arg(long)]
    check: bool,
    /// Write nothing; print how many items and trait implementations each library has.
    #[arg(long, conflicts_with = "check")]
    count: bool,
    /// The Cargo.toml of another checkout to work on.
    #[arg(long, value_name = "FILE")]
    manifest_path: Option<PathBuf>,
}

fn main() -> ExitCode {
    if let Some(code) = rustdoc::run_as_rustdoc() {
        return code;
    }
    exit(run(&Args::parse()))
}

fn run(args: &Args) -> Done {
    let workspace = Workspace::read(args.manifest_path.as_deref())?;
    rustdoc::write_json(&workspace)?;
    let mut differences = 0;
    for library in &workspace.libraries {
        let lines = listing::lines(library, &workspace.json(library))?;
        let file = format!("{FOLDER}/{library}.txt");
        let path = workspace.root.join(&file);
        if args.check {
            differences += print_differences(&file, &read(&path)?, &lines);
        } else if args.count {
            let implementations = lines.iter().filter(|line| line.starts_with("impl")).count();
            let items = lines.len() - implementations;
            println!("{library}: {items} items, {implementations} trait implementations");
        } else {
            write(&path, &lines)?;
            println!("{file}: {} lines", lines.len());
        }
    }
    match differences {
        0 => Ok(()),
        n => Err(Failure::check(format!(
            "the public API differs from {FOLDER} in {n} lines: write them with `cargo xtask api`, \
             and describe in CHANGELOG.md what users have to do"
        ))),
    }
}

/// Prints lines that only one of the two has, and returns their number.
fn print_differences(file: &str, listed: &str, present: &[String]) -> usize {
    let listed: Vec<&str> = listed.lines().collect();
    let present: Vec<&str> = present.iter().map(String::as_str).collect();
    let removed = only_in(&listed, &present).map(|line| ('-', line));
    let added = only_in(&present, &listed).map(|line| ('+', line));
    let differences: Vec<_> = removed.chain(added).collect();
    for (sign, line) in &differences {
        println!("{file}: {sign} {line}");
    }
    differences.len()
}

fn only_in<'a>(these: &[&'a str], others: &[&'a str]) -> impl Iterator<Item = &'a str> {
    let others: HashSet<&str> = others.iter().copied().collect();
    these
        .iter()
        .copied()
        .filter(move |line| !others.contains(line))
}

/// The listing's text; empty if the library is new.
fn read(path: &Path) -> Result<String, Failure> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        text => text.map_err(|error| Failure::check(format!("{}: {error}", path.display()))),
    }
}

fn write(path: &Path, lines: &[String]) -> Done {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, lines.join("\n") + "\n"))
        .map_err(|error| Failure::check(format!("{}: {error}", path.display())))
}
