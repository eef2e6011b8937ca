//! Load for the benchmark: workers claim machines and end them as fast as they can.
//!
//! `cargo xtask bench` builds it with optimisation and starts it. It prints a line of JSON. The fleet
//! must be larger than what can fail in a second, because a failed machine is due again after that.
#![allow(clippy::print_stdout, reason = "the result is its output")]

mod disturb;
mod ends;
mod measured;
mod runner;
mod workers;

use bmdb_core::{Bmdb, Claim, Config, HistoryDetail, SessionOptions};
use bmdb_model::{Process, Provider};
use clap::Parser;
use ends::End;
use measured::Measured;
use std::sync::Arc;
use std::time::Duration;
use workers::{Load, Until};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Claims and ends machines for some time, and prints how many.
#[derive(Debug, Parser)]
struct Options {
    /// The database. Use the variable: other users can see command lines.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// Number of workers.
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// How workers get machines.
    #[arg(long, value_enum, default_value_t = Shape::Each)]
    shape: Shape,
    /// How they end them.
    #[arg(long, value_enum, default_value_t = End::Fail)]
    end: End,
    /// Machines per claim and per end.
    #[arg(long, default_value_t = 1)]
    batch: u32,
    /// Duration in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Stop after this many machines, instead of after a duration.
    #[arg(long)]
    machines: Option<u64>,
    /// Pool size. Default: the number of workers.
    #[arg(long)]
    connections: Option<usize>,
    /// Fold repeated failures instead of recording each.
    #[arg(long)]
    fold: bool,
    /// Replan the fleet and trim history all the time, on separate connections.
    #[arg(long)]
    disturb: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    /// Each worker claims for itself.
    Each,
    /// A loop claims one machine for every free worker. Each worker ends its own work.
    Loop,
    /// The library's runner claims and ends them.
    Runner,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let options = Options::parse();
    let workers = usize::try_from(options.workers)?;
    let config = Config::new(&options.database_url)
        .component("load")
        .pool_size(options.connections.unwrap_or(workers).max(1))
        .retention(None)
        .history(if options.fold {
            HistoryDetail::Folded
        } else {
            HistoryDetail::Full
        });
    let bmdb = Bmdb::connect(config.clone()).await?;
    let disturbance = match options.disturb {
        true => Some(disturb::start(config.pool_size(2)).await?),
        false => None,
    };
    let mut measured = run(&bmdb, &options, workers).await?;
    if let Some(disturbance) = disturbance {
        (measured.planned, measured.trimmed) = disturbance.end().await?;
    }
    println!("{}", measured.as_json());
    Ok(())
}

async fn run(bmdb: &Bmdb, options: &Options, workers: usize) -> Result<Measured, Error> {
    let Options { end, batch, .. } = *options;
    let until = match options.machines {
        Some(machines) => Until::Machines(machines),
        None => Until::Time(Duration::try_from_secs_f64(options.seconds)?),
    };
    if let Shape::Runner = options.shape {
        return runner::runner(bmdb, end, options.workers, until).await;
    }
    let session = Arc::new(bmdb.start_session(SessionOptions::default()).await?);
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START).provider(&Provider::EQUINIX);
    let load = Load {
        session: session.clone(),
        claim: claim.limit(batch),
        end,
        workers,
    };
    let measured = match options.shape {
        Shape::Each => load.each(until).await?,
        Shape::Loop | Shape::Runner => load.one_loop(until).await?,
    };
    drop(load);
    if let Some(session) = Arc::into_inner(session) {
        session.close().await?;
    }
    Ok(measured)
}
