//! `cargo xtask bench testkit`: how long a test waits for its server and for its database.

mod boot;
mod clone;
mod creators;
mod database;
mod many;
mod memory;
mod plain;
mod process;

use super::report::Report;
use crate::server::{Network, provide};
use crate::shell::{Done, Failure};
use bmdb_testkit::{Installation, Lookup, OsUser, Places, Profile, Server};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

pub(super) use process::{Role, be};

/// Names the server to the tests that do not boot one.
const SERVER: &str = "BMDB_TEST_DATABASE_URL";

/// Where servers' data goes. It also tells shared servers apart, so that this benchmark meets no
/// other process's.
const DATA: &str = "BMDB_TESTKIT_DATA";

/// Set in the process that measures, once its environment is as it has to be.
const READY: &str = "BMDB_BENCH_DATA";

/// Measure the test databases: booting, joining, creating, and what all of it takes.
///
/// boot: a server from the seed, up to ready. first-boot: the same with an empty cache, so with
/// initdb and migrations. join: finding the running server from a new process. database: from
/// `TestDb::new()` to the first answer on a new connection, taking turns with a plain CREATE
/// DATABASE … TEMPLATE and with an empty database that is migrated. creators: databases that eight
/// create at once, and the same with plain statements. many: 64 tests in 64 processes by cargo-nextest, starting
/// without a server. memory: an idle server's share of it. clone: PostgreSQL 18's two ways to copy.
///
/// Servers are booted for it, whatever BMDB_TEST_DATABASE_URL says.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure only this; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<Part>,
    /// How often everything is measured, instead of as often as suits it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    samples: Option<u16>,
    /// Print one line of JSON on standard output at the end; everything else goes to standard
    /// error.
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

/// What a measurement works with, and adds its rows to.
struct Bench {
    installation: Installation,
    /// Empty, and nobody else's.
    folder: PathBuf,
    samples: Option<usize>,
    report: Report,
}

impl Bench {
    fn samples(&self, usual: usize) -> usize {
        self.samples.unwrap_or(usual)
    }
}

type Measure = fn(&mut Bench) -> Done;

/// Those that start without a server come before those that boot the shared one, which stays until
/// the process ends.
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
        None => run_in_a_folder_of_its_own(),
    }
}

/// Runs this program again: only a new process can have another environment.
fn run_in_a_folder_of_its_own() -> Done {
    let folder = Profile::Fast
        .folder()
        .join(format!("bench-{}", std::process::id()));
    let files = |error| Failure::check(format!("{}: {error}", folder.display()));
    fs::create_dir(&folder).map_err(files)?;
    // Servers' folders are removed by the account that the servers run as.
    chown(&folder, Some(account()?.uid), None).map_err(files)?;
    let this = env::current_exe().map_err(Failure::check)?;
    let status = Command::new(this)
        .args(env::args_os().skip(1))
        .env(READY, &folder)
        .env(DATA, &folder)
        .env_remove(SERVER)
        .status();
    // The last server goes a moment after the process, and takes its own folder away.
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
    // Every measurement but the first boot's starts from a seed that is there.
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
    // What was measured before something failed is worth reading.
    bench.report.print(args.json);
    done
}

fn find() -> Result<Installation, Failure> {
    let lookup = Lookup::search(&Places::from_env());
    lookup.installation().map_err(Failure::check)
}

fn kind_of_build() -> &'static str {
    if cfg!(debug_assertions) {
        "this program built without optimisation"
    } else {
        "this program built with optimisation"
    }
}

/// Whether a server of this process runs as another account, which has to reach its files.
fn account() -> Result<OsUser, Failure> {
    OsUser::for_server().map_err(Failure::check)
}

fn milliseconds(since: std::time::Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
