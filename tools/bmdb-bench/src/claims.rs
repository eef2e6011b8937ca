//! `cargo xtask bench` and `bench claims`: measure the cost of claims and failures beside pgbench
//! with the same statements.

mod anatomy;
mod backoff;
mod bare;
mod baseline;
mod batches;
mod bench;
mod buffers;
mod capture;
mod costs;
mod counters;
mod cycles;
mod fleet;
mod growth;
mod latency;
mod limits;
mod load;
mod log;
mod retries;
mod script;
mod success;
mod wakeups;
mod wal;
mod ways;

use super::report::Report;
use super::{heartbeats, machine};
use baseline::Baseline;
use bench::Bench;
use bmdb_dev::block_on;
use bmdb_dev::server::{Network, provide};
use bmdb_shell::{Done, Failure, root};
use bmdb_testkit::{Installation, Lookup, Places, Profile, Server, TestDb};
use costs::Costs;
use load::{Built, Load};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

// A documentation comment would become the help text of the commands that have these options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure only this part. May be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<Part>,
    /// Duration of each measurement in seconds.
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// Number of rounds. Each round alternates with what it is compared with.
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Measure briefly, without compiler optimisation, only to show that everything can be measured.
    #[arg(long, conflicts_with_all = ["seconds", "rounds"])]
    quick: bool,
    /// Write table, JSON and charts into this folder. Default: docs/bench after a complete run, else
    /// nowhere.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one line of JSON on standard output at the end, and everything else on standard error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: Network,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Success,
    Retries,
    Anatomy,
    Cycles,
    Limits,
    Batches,
    Latency,
    Wakeups,
    Buffers,
    Growth,
    Heartbeats,
    Backoff,
}

/// The parts that are measured by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    All,
    Claims,
}

impl Whole {
    const fn has(self, part: Part) -> bool {
        matches!(self, Self::All) || !matches!(part, Part::Heartbeats | Part::Backoff)
    }
}

pub(crate) fn run(args: &Args, whole: Whole) -> Done {
    provide(&Lookup::from_env(), args.network)?;
    let installation = find()?;
    let built = if args.quick {
        Built::AsForTests
    } else {
        Built::Optimised
    };
    let load = Load::build(built)?;
    let server = Server::boot(&installation, Profile::Durable).map_err(Failure::check)?;
    let not_ours = || Failure::check("this process did not boot the server");
    let folder = server.folder().ok_or_else(not_ours)?;
    let mut bench = Bench {
        baseline: Baseline::new(&installation, folder),
        scripts: BTreeMap::new(),
        load,
        seconds: if args.quick { 1 } else { args.seconds.into() },
        rounds: if args.quick { 1 } else { args.rounds.into() },
        quick: args.quick,
        built,
        report: Report::new(
            "claims",
            match built {
                Built::Optimised => installation.to_string(),
                Built::AsForTests => format!("{installation}, without optimisation"),
            },
        ),
        costs: Costs::default(),
        server: Arc::new(server),
        installation,
    };
    let chosen = |part| match args.only.as_slice() {
        [] => whole.has(part),
        only => only.contains(&part),
    };
    let done = block_on(measure(&mut bench, &chosen));
    let Bench {
        mut report, costs, ..
    } = bench;
    costs.add_to(&mut report);
    // Also after a failure: the measurements before it are useful.
    report.print(args.json);
    done?;
    let is_whole = whole == Whole::All && args.only.is_empty() && !args.quick;
    let usual = is_whole.then(|| root().join("docs/bench"));
    match args.out.clone().or(usual) {
        Some(folder) => report.write(&folder),
        None => Ok(()),
    }
}

async fn measure(bench: &mut Bench, chosen: &impl Fn(Part) -> bool) -> Done {
    let db = TestDb::on(&bench.server).await.map_err(Failure::check)?;
    machine::describe(&mut bench.report, &bench.server, &db).await?;
    machine::measure_commits(&mut bench.report, &db, bench.rounds).await?;
    drop(db);
    if chosen(Part::Success) {
        // Boxed, because its type is too deep for the compiler.
        Box::pin(success::measure(bench)).await?;
    }
    if chosen(Part::Retries) {
        Box::pin(retries::measure(bench)).await?;
    }
    if chosen(Part::Anatomy) {
        Box::pin(anatomy::measure(bench)).await?;
    }
    if chosen(Part::Cycles) {
        cycles::measure(bench).await?;
    }
    if chosen(Part::Limits) {
        limits::measure(bench).await?;
    }
    if chosen(Part::Batches) {
        batches::measure(bench).await?;
    }
    if chosen(Part::Latency) {
        latency::measure(bench).await?;
    }
    if chosen(Part::Wakeups) {
        wakeups::measure(bench).await?;
    }
    if chosen(Part::Buffers) {
        buffers::measure(bench).await?;
    }
    if chosen(Part::Growth) {
        growth::measure(bench).await?;
    }
    if chosen(Part::Heartbeats) {
        let args = heartbeats::Args::brief(bench.quick);
        heartbeats::measure(&args, &bench.server, &mut bench.report).await?;
    }
    if chosen(Part::Backoff) {
        backoff::measure(&mut bench.report, bench.built)?;
    }
    Ok(())
}

fn find() -> Result<Installation, Failure> {
    let lookup = Lookup::search(&Places::from_env());
    lookup.installation().map_err(Failure::check)
}
