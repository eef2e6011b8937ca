//! `cargo xtask bench claims`: how fast machines are claimed and failed, beside pgbench with the same
//! statements.

mod batches;
mod counters;
mod cycles;
mod fleet;
mod floor;
mod load;

use super::report::Report;
use crate::server::{Network, provide};
use crate::shell::{Done, Failure, block_on};
use bmdb_testkit::{Installation, Lookup, Places, Profile, Server, TestDb};
use floor::Floor;
use load::Load;
use std::sync::Arc;

/// Measure claims and failures, one by one and in batches, beside pgbench with the same statements.
///
/// The server has PostgreSQL's defaults and its data on disk. A cycle is the claim of a machine and
/// its failure. The fleet is so large that the queue never runs dry: a failed machine rests for a
/// second. Every failure is recorded. Ours and the floor take turns on one database.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure only this; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<Part>,
    /// For how many seconds each measurement runs.
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// How often each is repeated, taking turns with the others.
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Measure little and briefly, to see that it works.
    #[arg(long, conflicts_with_all = ["seconds", "rounds"])]
    quick: bool,
    /// Print one line of JSON on standard output at the end; everything else goes to standard
    /// error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: Network,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Cycles,
    Batches,
}

/// What a measurement works with, and adds its rows to.
struct Bench {
    server: Arc<Server>,
    /// Or why there is none.
    floor: Result<Floor, String>,
    load: Load,
    seconds: u32,
    rounds: u32,
    quick: bool,
    report: Report,
}

impl Bench {
    /// A database with a fleet that is large enough for some seconds of anything.
    async fn database(&self) -> Result<TestDb, Failure> {
        let db = TestDb::on(&self.server).await.map_err(Failure::check)?;
        let machines = if self.quick { 50_000 } else { 200_000 };
        fleet::fill(&db, machines).await?;
        Ok(db)
    }
}

pub(crate) fn run(args: &Args) -> Done {
    provide(&Lookup::from_env(), args.network)?;
    let installation = find()?;
    let load = Load::build()?;
    let server = Server::boot(&installation, Profile::Durable).map_err(Failure::check)?;
    let folder = server
        .folder()
        .ok_or(Failure::check("the server was not booted here"))?;
    let mut bench = Bench {
        floor: Floor::new(&installation, folder),
        load,
        seconds: if args.quick { 1 } else { args.seconds.into() },
        rounds: if args.quick { 1 } else { args.rounds.into() },
        quick: args.quick,
        report: Report::new("claims", installation.to_string()),
        server: Arc::new(server),
    };
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    let done = block_on(async {
        if wanted(Part::Cycles) {
            cycles::measure(&mut bench).await?;
        }
        if wanted(Part::Batches) {
            batches::measure(&mut bench).await?;
        }
        Ok(())
    });
    // What was measured before something failed is worth reading.
    bench.report.print(args.json);
    done
}

fn find() -> Result<Installation, Failure> {
    let lookup = Lookup::search(&Places::from_env());
    lookup.installation().map_err(Failure::check)
}
