//! A worker of the soak: claims, works and ends work as components do, notes all of it in a journal,
//! and never gives up, whatever befalls the database.
//!
//! `cargo xtask soak` starts several of these. SIGTERM drains it; it ends at once when its standard
//! input is closed, which is what the death of whoever started it does.

mod claiming;
mod dice;
mod ending;
mod part;

use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_core::{Bmdb, Config, HistoryDetail};
use clap::Parser;
use part::Part;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What every failure leads to: 1, 2, 4, 5, 5, … seconds.
const BACKOFF: Backoff = match (Seconds::new(1), Seconds::new(5)) {
    (Some(initial), Some(maximum)) => Backoff::exponential(initial, maximum, Factor::from_int(2)),
    _ => Backoff::fixed(Seconds::MAX),
};

/// For how long running work may go on once it was told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Works until SIGTERM.
#[derive(Debug, Parser)]
struct Options {
    /// The database.
    #[arg(long)]
    database_url: String,
    /// The file to note everything in; it must not exist.
    #[arg(long)]
    journal: PathBuf,
    /// Which of the run's workers this is.
    #[arg(long)]
    number: u32,
    /// What its random choices come from.
    #[arg(long)]
    seed: u64,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let options = Options::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    // Not a task: the runtime would wait at its end for what a task reads.
    std::thread::spawn(end_with_whoever_started_it);
    let part = Arc::new(Part::new(&options)?);
    let Some(bmdb) = connect(&options, &part, &mut terminate).await? else {
        part.saw("the end")?;
        return Ok(());
    };
    let working = tokio::spawn(claiming::work(bmdb.clone(), part.clone()));
    terminate.recv().await;
    part.stop();
    // While the database cannot be reached there is nothing to give back by.
    if let Err(error) = bmdb.drain(DRAIN).await {
        part.failed("draining", &error)?;
    }
    working.await??;
    part.saw("the end")?;
    Ok(())
}

/// Tries until the server answers; `None` when it is told to stop before.
async fn connect(
    options: &Options,
    part: &Part,
    terminate: &mut tokio::signal::unix::Signal,
) -> Result<Option<Bmdb>, Error> {
    let mut config = Config::new(&options.database_url)
        .component("soak")
        .runtime_info(format!(
            "worker {}, pid {}",
            options.number,
            std::process::id()
        ))
        .history(HistoryDetail::Full)
        .retention(None)
        .pool_size(8)
        .janitor_interval(Some(Duration::from_millis(500)));
    config.statement_timeout = Duration::from_secs(2);
    config.connect_timeout = Duration::from_secs(2);
    config.retry_for = Duration::from_secs(4);
    loop {
        tokio::select! {
            connected = Bmdb::connect(config.clone()) => match connected {
                Ok(bmdb) => return Ok(Some(bmdb)),
                Err(error) => part.failed("connecting", &error)?,
            },
            _ = terminate.recv() => return Ok(None),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A worker that nobody looks after would work for ever.
fn end_with_whoever_started_it() {
    let mut said = [0; 64];
    while matches!(std::io::stdin().read(&mut said), Ok(length) if length > 0) {}
    std::process::exit(3);
}
