//! Contender of the comparison: works through a queue of jobs in its way, in a process of its own.
//!
//! `cargo xtask bench comparison` builds it with optimisation and starts it: once to fill the queue of an
//! empty database, and once to work. It prints a line of JSON.
#![allow(clippy::print_stdout, reason = "the result is its output")]

mod apalis;
mod bare;
mod bmdb;
mod database;
mod graphile;
mod progress;
mod underway;

use clap::Parser;
use database::{Error, connect};
use graphile::Batched;
use progress::Progress;
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Where the handlers of all contenders but bmdb write.
const OUTCOME: &str = "CREATE TABLE bench_outcome (
    job int8 PRIMARY KEY, written_at timestamptz NOT NULL DEFAULT clock_timestamp())";

/// How often the end is looked for, once all handlers have succeeded.
const LOOK: Duration = Duration::from_millis(2);

/// Fills a queue, or works through it and prints how long that took.
#[derive(Debug, Parser)]
struct Options {
    #[arg(value_enum)]
    contender: Contender,
    #[arg(value_enum)]
    step: Step,
    /// The database. Use the variable: other users can see command lines.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// Number of jobs.
    #[arg(long)]
    jobs: u32,
    /// How many jobs are worked on at the same time.
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// Whether each job fails once before it succeeds.
    #[arg(long)]
    fail_once: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Contender {
    Bmdb,
    Graphile,
    GraphileBatched,
    GraphileBatchJobs,
    Apalis,
    Underway,
    Bare,
    BareBatches,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Step {
    Fill,
    Work,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.step {
        Step::Fill => fill(&options).await,
        Step::Work => work(&options).await,
    };
    match done {
        // Without a graceful end: the database is thrown away, and the wait would be part of no result.
        Ok(()) => std::process::exit(0),
        Err(error) => {
            println!("{}", json!({"error": error.to_string()}));
            ExitCode::FAILURE
        }
    }
}

async fn fill(options: &Options) -> Result<(), Error> {
    let (url, jobs) = (options.database_url.as_str(), options.jobs);
    if options.contender != Contender::Bmdb {
        let client = connect(url).await?;
        client.batch_execute(OUTCOME).await?;
    }
    match options.contender {
        Contender::Bmdb => bmdb::fill(url, jobs).await,
        Contender::Graphile | Contender::GraphileBatched => graphile::fill(url, jobs).await,
        Contender::GraphileBatchJobs => graphile::fill_in_batches(url, jobs).await,
        Contender::Apalis => apalis::fill(url, jobs).await,
        Contender::Underway => underway::fill(url, jobs).await,
        Contender::Bare | Contender::BareBatches => bare::fill(url, jobs).await,
    }
}

async fn work(options: &Options) -> Result<(), Error> {
    let (url, workers) = (options.database_url.as_str(), options.workers);
    let progress = Arc::new(Progress::new(options.jobs, options.fail_once));
    let shared = progress.clone();
    let worker = async move {
        match options.contender {
            Contender::Bmdb => bmdb::work(url, workers, shared).await,
            Contender::Graphile => graphile::work(url, workers, Batched::Not, shared).await,
            Contender::GraphileBatched => graphile::work(url, workers, Batched::Rows, shared).await,
            Contender::GraphileBatchJobs => {
                graphile::work(url, workers, Batched::Jobs, shared).await
            }
            Contender::Apalis => apalis::work(url, workers, shared).await,
            Contender::Underway => underway::work(url, workers, shared).await,
            Contender::Bare => bare::work(url, workers, 1, shared).await,
            Contender::BareBatches => bare::work(url, workers, bare::BATCH, shared).await,
        }
    };
    let (done, outcomes) = match options.contender {
        Contender::Bmdb => (bmdb::DONE, bmdb::OUTCOMES),
        Contender::Graphile | Contender::GraphileBatched | Contender::GraphileBatchJobs => {
            (graphile::DONE, OUTCOMES)
        }
        Contender::Apalis => (apalis::DONE, OUTCOMES),
        Contender::Underway => (underway::DONE, OUTCOMES),
        Contender::Bare | Contender::BareBatches => (bare::DONE, OUTCOMES),
    };
    let client = connect(url).await?;
    tokio::select! {
        ended = worker => {
            ended?;
            return Err("the contender ended before its jobs".into());
        }
        ended = wait(&client, done, &progress) => ended?,
    }
    let seconds = progress.since_the_first_start().as_secs_f64();
    let written: i64 = client.query_one(outcomes, &[]).await?.get(0);
    if written != i64::from(options.jobs) {
        return Err(format!("{written} jobs of {} have an outcome", options.jobs).into());
    }
    let pause = progress.longest_pause().as_secs_f64();
    println!("{}", json!({"seconds": seconds, "longest_pause": pause}));
    Ok(())
}

/// Counts the written outcomes.
const OUTCOMES: &str = "SELECT count(*) FROM bench_outcome";

/// Waits until every job has succeeded, and then until the database knows it: some contenders write later
/// that a job is done.
async fn wait(
    client: &tokio_postgres::Client,
    done: &str,
    progress: &Progress,
) -> Result<(), Error> {
    progress.all_succeeded().await;
    while !client.query_one(done, &[]).await?.get::<_, bool>(0) {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
