//! A control loop in its shortest form: claim machines, run a command for each, back off from
//! failures. `cargo xtask demo` starts several of these and kills one of them.
//!
//! Every claim and every end is a line of JSON on standard output.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use bmdb_backoff::Backoff;
use bmdb_core::{
    Bmdb, Claim, Config, History, Session, SessionOptions, Tx, TxError, TxOptions, Work,
};
use bmdb_model::{AgentStarted, Process, Provider, provided};
use clap::Parser;
use serde_json::json;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Starts the agent on machines that need one, until SIGTERM.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// The database. In the variable, unlike on a command line, nobody else sees a password.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// What to run for a machine; it finds the machine in BMDB_MACHINE_ID, BMDB_PROVIDER_ID,
    /// BMDB_FENCE and BMDB_ATTEMPT, and fails with the last line of its standard error as cause.
    #[arg(long)]
    command: PathBuf,
    /// Whose machines to work on; may be given several times.
    #[arg(long = "provider", default_value = "Equinix")]
    providers: Vec<Provider>,
    /// How many machines to work on at once.
    #[arg(long, default_value_t = 4)]
    parallelism: u32,
    /// How long the machines of this worker stay locked when it dies, in seconds.
    #[arg(long, default_value_t = 2)]
    lease: u64,
    /// How long what is running when it is told to stop may take to end, in seconds.
    #[arg(long, default_value_t = 10)]
    patience: u64,
    /// How long a machine rests after a failure.
    #[arg(long, default_value = "initial=1s,max=5s,factor=2")]
    backoff: Backoff,
}

impl Options {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let options = Options::parse();
    let config = Config::new(&options.database_url)
        .component("demo-worker")
        .runtime_info(format!("pid {}", std::process::id()))
        .history(History::Full)
        .retention(None);
    let bmdb = Bmdb::connect(config).await?;
    let lease = SessionOptions::default().interval(Duration::from_secs(options.lease));
    let session = bmdb.start_session(lease).await?;
    let running = claim_until_told_to_stop(&session, &options).await?;
    // Commands that are still running then are killed, and their machines given back.
    let (drained, ended) = tokio::join!(bmdb.drain(options.patience()), end_all(running));
    drained?;
    ended
}

type Running = JoinSet<Result<(), Error>>;

async fn claim_until_told_to_stop(session: &Session, options: &Options) -> Result<Running, Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut running = Running::new();
    let [first, further @ ..] = options.providers.as_slice() else {
        return Err("no provider to work for".into());
    };
    let due = Claim::of(&Process::SHEPHERD_AGENT_START).provider(first);
    let mut poller = session.poller(&due);
    for provider in further {
        poller = poller.and_provider(provider);
    }
    loop {
        let busy = u32::try_from(running.len()).unwrap_or(u32::MAX);
        let free = options.parallelism.saturating_sub(busy);
        tokio::select! {
            _ = terminate.recv() => break,
            Some(ended) = running.join_next() => ended??,
            works = poller.next(free) => {
                for work in works? {
                    log("started", &work);
                    let provider_id = provider_id(session, &work).await?;
                    running.spawn(start_agent(work, provider_id, options.clone()));
                }
            }
        }
    }
    Ok(running)
}

async fn end_all(mut running: Running) -> Result<(), Error> {
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}

async fn provider_id(session: &Session, work: &Work) -> Result<String, TxError> {
    let machine = work.machine();
    let read = async |tx: &mut Tx<'_>| Ok(provided::of(tx, machine).await?);
    let provided = session.transact_with(TxOptions::read_only(), read).await?;
    Ok(provided
        .map(|provided| provided.provider_id)
        .unwrap_or_default())
}

async fn start_agent(work: Work, provider_id: String, options: Options) -> Result<(), Error> {
    let command = Command::new(&options.command)
        .env("BMDB_MACHINE_ID", work.machine().to_string())
        .env("BMDB_PROVIDER_ID", &provider_id)
        .env("BMDB_FENCE", work.fence().to_string())
        .env("BMDB_ATTEMPT", (work.failures() + 1).to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::select! {
        output = command => output?,
        // Somebody else may get the machine: the command is killed, and there is nothing to end.
        () = work.lost() => return Ok(()),
    };
    if output.status.success() {
        log("finished", &work);
        let machine = work.machine();
        let started = AgentStarted::now(output.stdout.trim_ascii());
        work.finish(async |tx| tx.set_agent_started(machine, &started).await)
            .await?;
    } else {
        log("failed", &work);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let cause = stderr.trim().lines().last().unwrap_or("no reason given");
        work.fail(&options.backoff, cause).await?;
    }
    Ok(())
}

fn log(event: &str, work: &Work) {
    let (machine, fence) = (work.machine().to_string(), work.fence().get());
    println!(
        "{}",
        json!({"event": event, "machine": machine, "fence": fence})
    );
}
