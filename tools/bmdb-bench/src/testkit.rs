//! `cargo xtask bench testkit`: measures how long a test waits for its server and its database.

mod bench;
mod boot;
mod clone;
mod creators;
mod database;
mod many;
mod memory;
mod plain;
mod process;

use super::report::Report;
use bench::{Bench, account, find};
use bmdb_dev::server::{Network, provide};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Lookup, Profile, Server};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

pub(super) use process::{Role, be};

/// Environment variable: the server of tests that do not boot one.
const SERVER: &str = "BMDB_TEST_DATABASE_URL";

/// Environment variable: the folder of servers' data. Processes share a server only within one folder,
/// so this benchmark uses a folder of its own.
const DATA: &str = "BMDB_TESTKIT_DATA";

/// Environment variable: set in the process that measures, after its environment was prepared.
const READY: &str = "BMDB_BENCH_DATA";

/// Measure test databases: booting servers, joining them, and creating databases.
///
/// boot: a server from the seed until it is ready. first-boot: the same with an empty cache, including
/// initdb and migrations. join: a new process finds the running server. database: from `TestDb::new()`
/// to the first answer on a new connection, beside a plain CREATE DATABASE … TEMPLATE and an empty
/// database that is migrated. creators: eight tasks create databases, beside plain statements. many: 64
/// tests in 64 processes by cargo-nextest, starting without a server. memory: of an idle server. clone:
/// PostgreSQL 18's two ways to copy.
///
/// It boots its own servers and ignores BMDB_TEST_DATABASE_URL.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure only this part. May be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<Part>,
    /// Samples of each part. Default: a number that suits the part.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    samples: Option<u16>,
    /// Print one line of JSON on standard output at the end, and everything else on standard error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: Network,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Boot,
    FirstBoot,
    Join,
    Database,
    Creators,
    Many,
    Memory,
    Clone,
}

type Measure = fn(&mut Bench) -> Done;

/// Parts that start without a server come before those that boot the shared one, which runs until this
/// process ends.
const PARTS: &[(Part, Measure)] = &[
    (Part::Boot, boot::cold),
    (Part::FirstBoot, boot::first),
    (Part::Memory, memory::measure),
    (Part::Many, many::measure),
    (Part::Join, process::measure_joining),
    (Part::Database, database::measure),
    (Part::Creators, creators::measure),
    (Part::Clone, clone::measure),
];

pub(crate) fn run(args: &Args) -> Done {
    match env::var_os(READY) {
        Some(folder) => measure(args, Path::new(&folder)),
        None => run_in_own_folder(),
    }
}

/// Runs this program again, because a process cannot safely change its own environment.
fn run_in_own_folder() -> Done {
    let folder = Profile::Fast
        .folder()
        .join(format!("bench-{}", std::process::id()));
    let files = |error| Failure::check(format!("{}: {error}", folder.display()));
    fs::create_dir(&folder).map_err(files)?;
    // The user that servers run as removes their folders.
    chown(&folder, Some(account()?.uid), None).map_err(files)?;
    let this = env::current_exe().map_err(Failure::check)?;
    let status = Command::new(this)
        .args(env::args_os().skip(1))
        .env(READY, &folder)
        .env(DATA, &folder)
        .env_remove(SERVER)
        .status();
    // The last server stops shortly after the process and removes its folder.
    many::wait_until_empty(&folder);
    let removed = fs::remove_dir(&folder);
    match status.map_err(Failure::check)?.code() {
        Some(0) => removed.map_err(files),
        code => Err(Failure::Command(
            code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
        )),
    }
}

fn measure(args: &Args, folder: &Path) -> Done {
    provide(&Lookup::from_env(), args.network)?;
    let installation = find()?;
    // Make the seed, which all measurements but the first boot start from.
    drop(Server::boot(&installation, Profile::Fast).map_err(Failure::check)?);
    let mut bench = Bench {
        report: Report::new("testkit", format!("{installation}, {}", kind_of_build())),
        installation,
        folder: folder.to_owned(),
        samples: args.samples.map(usize::from),
    };
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let mut parts = PARTS.iter().filter(|(part, _)| wanted(*part));
    let done = parts.try_for_each(|(_, measure)| measure(&mut bench));
    // Also after a failure: the measurements before it are useful.
    bench.report.print(args.json);
    done
}

fn kind_of_build() -> &'static str {
    if cfg!(debug_assertions) {
        "this program built without optimisation"
    } else {
        "this program built with optimisation"
    }
}
