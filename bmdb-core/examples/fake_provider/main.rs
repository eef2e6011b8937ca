//! Fake provider: a small cloud in one program, with a provider of six devices, a control loop that
//! starts agents on them, and one that recovers devices whose agents are silent. It ends when all agents
//! answer.
//!
//! ```sh
//! cargo xtask pg start                       # prints the URL of a server
//! export DATABASE_URL=postgres://…           # one of its databases
//! cargo run -p bmdb-core --example fake_provider
//! ```
//!
//! The devices are in `devices.json`. Two of them have an agent whose last heartbeat is a quarter of an
//! hour old: `ShepherdRecovery` is due ten minutes after the last heartbeat.
#![allow(clippy::print_stdout, reason = "the example prints what happens")]

mod provider;
mod recovery;
mod register;
mod start;

use bmdb_core::control_loop::{
    ControlLoop, Event, LoopError, LoopOptions, Outcome, Runner, Shutdown, Summary,
};
use bmdb_core::{Bmdb, Config};
use provider::FakeProvider;
use recovery::Recovery;
use start::AgentStart;
use std::sync::Arc;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::var("DATABASE_URL")
        .map_err(|_| "set DATABASE_URL to a database that may be migrated")?;
    run(&url).await?;
    Ok(())
}

/// Migrates, registers the devices, and runs both loops until all agents answer. Returns what the loops
/// did.
pub(crate) async fn run(url: &str) -> Result<(Summary, Summary), Error> {
    let bmdb = Bmdb::connect(Config::new(url).component("fake-provider")).await?;
    bmdb.migrate().await?;
    let provider = Arc::new(FakeProvider::from_json(include_str!("devices.json"))?);
    register::all(&bmdb, &provider).await?;

    // SIGTERM and Ctrl-C shut both loops down gracefully too.
    let shutdown = Shutdown::on_signals()?;
    let done = provider.clone();
    let all_done = shutdown.clone();
    tokio::spawn(async move {
        done.all_agents_answer().await;
        all_done.request();
    });

    let options = LoopOptions::default().parallelism(4);
    let starting = Runner::new(&bmdb, AgentStart::new(provider.clone())).options(options.clone());
    let recovering = Runner::new(&bmdb, Recovery::new(provider)).options(options);
    let (started, recovered) = tokio::join!(
        run_loop(starting, &shutdown),
        run_loop(recovering, &shutdown)
    );
    let (started, recovered) = (started?, recovered?);
    println!("agent start: {started}\nrecovery: {recovered}");
    Ok((started, recovered))
}

/// Runs a loop; if it ends with an error, shuts the other one down.
async fn run_loop<L: ControlLoop>(
    runner: Runner<L>,
    shutdown: &Shutdown,
) -> Result<Summary, LoopError> {
    let ran = runner.run(shutdown.clone()).await;
    if ran.is_err() {
        shutdown.request();
    }
    ran
}

/// Prints a line for each attempt.
fn print(what: &str, event: &Event<'_>) {
    let Event::Ended {
        machine, outcome, ..
    } = event
    else {
        return;
    };
    let device = machine.provided.as_ref().map_or("?", |p| &p.provider_id);
    let attempt = machine.attempt;
    match outcome {
        Outcome::Finished { .. } => println!("{what} of {device}: done, attempt {attempt}"),
        Outcome::Failed {
            cause, interval, ..
        } => println!("{what} of {device}: {cause}; again in {interval}"),
        other => println!("{what} of {device}: {other:?}"),
    }
}
