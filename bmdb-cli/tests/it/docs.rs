//! Runs every command in the documents as a reader would, and compares its output with the document.

#![allow(
    clippy::print_stdout,
    reason = "the output lists the blocks that are not tested"
)]

mod output;
mod page;
mod shell;

use bmdb_testkit::{Installation, Lookup, TestDb};
use page::{Block, How};
use shell::Shell;
use std::error::Error;
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The tested documents, with a test for each.
macro_rules! documents {
    ($($test:ident: $path:literal;)*) => {
        const DOCUMENTS: &[&str] = &[$($path),*];

        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() -> Result<(), Box<dyn Error>> {
            follow($path).await
        })*
    };
}

documents! {
    the_readme: "README.md";
    contributing: "CONTRIBUTING.md";
    getting_started: "docs/getting-started.md";
    clocks: "docs/clocks.md";
    concepts: "docs/concepts.md";
    operators_handbook: "docs/operators-handbook.md";
    library_guide: "docs/library-guide.md";
    comparison: "docs/comparison.md";
    failover: "docs/failover.md";
    connecting: "docs/connecting.md";
    scaling: "docs/scaling.md";
    the_index: "docs/README.md";
    bmdb_run: "docs/cli/run.md";
    the_readme_of_the_command_line: "bmdb-cli/README.md";
    the_readme_of_the_console: "bmdb-web/README.md";
    the_readme_of_the_testkit: "bmdb-testkit/README.md";
}

/// The folders that are searched for documents missing in the list. Generated ones contain no commands.
const FOLDERS: &[&str] = &[
    "",
    "docs",
    "docs/cli",
    "docs/monitoring",
    "bmdb-backoff",
    "bmdb-cli",
    "bmdb-core",
    "bmdb-model",
    "bmdb-testkit",
    "bmdb-web",
];

#[test]
fn every_document_with_commands_is_tested() -> Result<(), Box<dyn Error>> {
    let mut missing = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(root().join(folder)) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.strip_prefix(root())?.to_string_lossy().into_owned();
            if name.ends_with(".md") && !DOCUMENTS.contains(&name.as_str()) {
                let text = fs::read_to_string(&path)?;
                let blocks = page::parse(&text).map_err(|mistake| format!("{name}: {mistake}"))?;
                missing.extend((!blocks.is_empty()).then_some(name));
            }
        }
    }
    assert!(missing.is_empty(), "add them to DOCUMENTS: {missing:?}");
    Ok(())
}

async fn follow(document: &str) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(root().join(document))?;
    let blocks = page::parse(&text).map_err(|mistake| format!("{document}: {mistake}"))?;
    let db = TestDb::empty().await?;
    let server = major(&db.rows("SHOW server_version").await?[0]);
    let folder = env::temp_dir().join(format!("bmdb-docs-{}", db.name()));
    let mut shell = shell(&folder, &db)?;
    // The shell blocks, so it must not occupy a thread of the runtime.
    let followed = tokio::task::block_in_place(|| {
        blocks.iter().try_for_each(|block| {
            let place = format!("{document}:{}", block.line);
            let context = |why: String| format!("{place}: {why}\nin\n{}", block.commands);
            match why_skipped(block, server)? {
                Some(why) => println!("NOT TESTED {}", context(why)),
                None => shell.run(block).map_err(context)?,
            }
            Ok::<_, Box<dyn Error>>(())
        })
    });
    drop(shell);
    fs::remove_dir_all(&folder)?;
    // Printed with `Display`: `Debug` would print one long line.
    if let Err(why) = followed {
        panic!("{why}");
    }
    Ok(())
}

/// A shell with the programs under test and an empty database.
///
/// It connects as the owner, because readers of a document migrate first.
fn shell(folder: &Path, db: &TestDb) -> Result<Shell, Box<dyn Error>> {
    let mut shell = Shell::new(folder)?;
    shell.set("PATH", path()?);
    shell.set("HOME", shell.home());
    shell.set("BMDB_DATABASE_URL", db.admin_url());
    shell.set("BMDB_OPERATOR", "ada@example");
    shell.set("COLUMNS", "100");
    shell.set("LC_ALL", "C.UTF-8");
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    shell.set("BMDB_LISTEN", &free);
    shell.replace("127.0.0.1:8717", free);
    let examples = shell.home().join("examples");
    fs::create_dir(&examples)?;
    for example in ["fleet.json", "start-agent.sh"] {
        fs::copy(
            root().join("examples").join(example),
            examples.join(example),
        )?;
    }
    Ok(shell)
}

/// The PATH: the programs of this repository, then those of the PostgreSQL server.
fn path() -> Result<OsString, Box<dyn Error>> {
    let own = Path::new(env!("CARGO_BIN_EXE_bmdb")).parent();
    let server = Lookup::from_env().installation().ok();
    let server = server.as_ref().map(Installation::bin);
    let others = env::var_os("PATH").unwrap_or_default();
    let folders = own.into_iter().chain(server).map(Path::to_owned);
    Ok(env::join_paths(folders.chain(env::split_paths(&others)))?)
}

/// Why a block cannot be run here.
fn why_skipped(block: &Block, server: u32) -> Result<Option<String>, Box<dyn Error>> {
    if let How::Skip(reason) = block.how {
        return Ok(Some(reason.to_owned()));
    }
    let Some(program) = &block.needs else {
        return Ok(None);
    };
    let mut version = Command::new(program);
    let Ok(output) = version.arg("--version").env("PATH", path()?).output() else {
        return Ok(Some(format!("it needs {program}, which is not installed")));
    };
    // `pg_dump (PostgreSQL) 15.18 (Debian …)`. pg_dump refuses servers that are newer than itself.
    let printed = String::from_utf8_lossy(&output.stdout);
    let version = printed
        .split_once("(PostgreSQL) ")
        .map(|(_, version)| major(version));
    let older = version.filter(|version| *version < server);
    Ok(older.map(|version| format!("{program} {version} is older than the server, {server}")))
}

fn major(version: &str) -> u32 {
    let digits = version.find(|c: char| !c.is_ascii_digit());
    version[..digits.unwrap_or(version.len())]
        .parse()
        .unwrap_or(0)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
