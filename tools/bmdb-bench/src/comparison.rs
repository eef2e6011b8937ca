//! `cargo xtask bench comparison`: measures bmdb and public job queues in one run, on one server.

mod contenders;
mod counters;
mod page;
mod race;

use crate::machine;
use crate::report::Report;
use bmdb_dev::block_on;
use bmdb_dev::server::{Network, provide};
use bmdb_shell::{Done, Failure, root};
use bmdb_testkit::{Installation, Lookup, Places, Profile, Server, TestDb};
use contenders::ALL;
use page::Page;
use race::{Course, Race};
use std::path::PathBuf;
use std::sync::Arc;

/// The document that contains the table.
const DOCUMENT: &str = "docs/comparison.md";

/// Measure bmdb beside public job queues for PostgreSQL, and print the tables as Markdown.
///
/// Each contender works through the same number of jobs, in a process and a database of its own, with
/// the settings that its authors advise for throughput. A job succeeds with one small write by its
/// handler. Filling the queue is not measured. The contenders take turns in each round.
///
/// The server has PostgreSQL's default settings, and pg_stat_statements to count statements. The first
/// run compiles the contenders with optimisation, which takes many minutes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of jobs; a quarter of them for a single worker.
    #[arg(long, value_name = "N", default_value_t = 20_000,
          value_parser = clap::value_parser!(u32).range(1000..))]
    jobs: u32,
    /// Number of rounds.
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Measure only this contender. May be repeated.
    #[arg(long, value_name = "NAME", value_parser = contenders::named)]
    only: Vec<&'static contenders::Contender>,
    /// Also replace the tables in docs/comparison.md.
    #[arg(long, conflicts_with = "only")]
    write: bool,
    #[command(flatten)]
    network: Network,
}

pub(crate) fn run(args: &Args) -> Done {
    provide(&Lookup::from_env(), args.network)?;
    let lookup = Lookup::search(&Places::from_env());
    let installation = lookup.installation().map_err(Failure::check)?;
    let program = built()?;
    let server = boot(&installation)?;
    let contenders = match args.only.as_slice() {
        [] => ALL.iter().collect(),
        only => only.to_vec(),
    };
    let race = Race {
        program,
        server: Arc::new(server),
        jobs: args.jobs,
        rounds: args.rounds.into(),
        contenders,
    };
    let report = Report::new("comparison", installation.to_string());
    block_on(async {
        let page = measure(&race, report).await?;
        println!("{page}");
        if args.write { write(&page) } else { Ok(()) }
    })
}

/// Replaces the tables of the document.
fn write(page: &Page) -> Done {
    let path = root().join(DOCUMENT);
    let document = std::fs::read_to_string(&path).map_err(Failure::check)?;
    let lost = || Failure::check(format!("{DOCUMENT} has lost the marks around its tables"));
    let document = page.within(&document).ok_or_else(lost)?;
    std::fs::write(&path, document).map_err(Failure::check)
}

async fn measure(race: &Race, mut report: Report) -> Result<Page, Failure> {
    let db = TestDb::on(&race.server).await.map_err(Failure::check)?;
    machine::describe(&mut report, &race.server, &db).await?;
    drop(db);
    let mut courses = Vec::new();
    for course in Course::ALL {
        courses.push((course, race.contenders_on(course).await?));
    }
    Ok(Page::new(race, &report, courses))
}

/// With optimisation, as the contenders' users build it.
fn built() -> Result<PathBuf, Failure> {
    let manifest = root().join("tools/bmdb-bench/contender/Cargo.toml");
    let manifest = manifest.display().to_string();
    let target = root().join("target").display().to_string();
    let how = [
        "--manifest-path",
        &manifest,
        "--target-dir",
        &target,
        "--locked",
        "--release",
    ];
    bmdb_shell::built("bmdb-contender", &how)
}

/// A durable server that counts statements.
fn boot(installation: &Installation) -> Result<Server, Failure> {
    let server = Server::boot(installation, Profile::Durable).map_err(Failure::check)?;
    block_on(counters::preload(&server))?;
    server.kill9().map_err(Failure::check)?;
    server.restart().map_err(Failure::check)?;
    Ok(server)
}
