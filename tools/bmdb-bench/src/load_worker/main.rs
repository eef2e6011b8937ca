//! A load to measure with: workers claim machines and fail them, as fast as they can.
//!
//! `cargo xtask bench` builds it with optimisation and starts it. Its result is a line of JSON on
//! standard output. Machines are Equinix's, due for `ShepherdAgentStart`; a failed one is due again
//! a second later, so the fleet must be larger than what a second's work is.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

mod disturb;
mod measured;
mod workers;

use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::{Bmdb, Claim, Config, HistoryDetail, SessionOptions};
use bmdb_model::{Process, Provider};
use clap::Parser;
use measured::Measured;
use std::sync::Arc;
use std::time::Duration;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What every machine's failure leads to, as short as it can be.
const BACKOFF: Backoff = Backoff::fixed(Seconds::MIN);

const CAUSE: &str = "no answer";

/// Claims and fails machines for some time, and tells how many.
#[derive(Debug, Parser)]
struct Options {
    /// The database. In the variable, unlike on a command line, nobody else sees a password.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// How many work at once.
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// How the workers come by their machines.
    #[arg(long, value_enum, default_value_t = Shape::Each)]
    shape: Shape,
    /// How many machines a worker claims at once and fails at once.
    #[arg(long, default_value_t = 1)]
    batch: u32,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Until this many machines have failed, instead.
    #[arg(long)]
    machines: Option<u64>,
    /// How many connections the pool has. Default: as many as workers.
    #[arg(long)]
    connections: Option<usize>,
    /// Fold failures that are like the ones before, instead of recording each.
    #[arg(long)]
    fold: bool,
    /// Plan the fleet and trim its history all the while, on connections of their own.
    #[arg(long)]
    disturb: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    /// Each claims for itself.
    Each,
    /// A loop claims one machine for every worker that is free, each of which then ends its own.
    Loop,
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
    let session = Arc::new(bmdb.start_session(SessionOptions::default()).await?);
    let disturbance = match options.disturb {
        true => Some(disturb::start(config.pool_size(2)).await?),
        false => None,
    };
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START).provider(&Provider::EQUINIX);
    let until = match options.machines {
        Some(machines) => workers::Until::Machines(machines),
        None => workers::Until::Time(Duration::try_from_secs_f64(options.seconds)?),
    };
    let mut measured: Measured = match options.shape {
        Shape::Each => {
            let batch = options.batch;
            workers::each(&session, &claim.limit(batch), workers, until).await?
        }
        Shape::Loop => workers::one_loop(&session, &claim, workers, until).await?,
    };
    if let Some(disturbance) = disturbance {
        (measured.planned, measured.trimmed) = disturbance.end().await?;
    }
    if let Some(session) = Arc::into_inner(session) {
        session.close().await?;
    }
    println!("{}", measured.as_json());
    Ok(())
}
