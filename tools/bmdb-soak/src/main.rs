//! `bmdb-soak`: runs workers under faults and judges what they did. The demonstration, the stress and
//! the soak are its presets.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it reports on the terminal"
)]

mod clock;
mod connect;
mod demo;
mod disk;
mod environment;
mod events;
mod failure;
mod fault;
mod fixture;
mod folder;
mod gateway;
mod heartbeats;
mod inject;
mod journal;
mod judge;
mod memory;
mod progress;
mod quiesce;
mod report;
mod rng;
mod run;
mod schedule;
mod server;
mod servers;
mod soak;
mod stop;
mod stress;
mod worker;
mod workers;

use clap::{Parser, Subcommand};
use failure::Done;
use std::process::ExitCode;

/// Runs workers of the Bare Metal Database under faults, and judges what they did.
///
/// Exit codes: 0 everything held, 1 something was violated or a step failed, 2 the request was wrong.
/// Ctrl-C ends the workers and judges what was done until then.
#[derive(Debug, Parser)]
#[command(name = "bmdb-soak")]
struct Cli {
    #[command(subcommand)]
    preset: Preset,
}

#[derive(Debug, Subcommand)]
enum Preset {
    Demo(demo::Args),
    Soak(soak::Args),
    Stress(stress::Args),
    #[command(hide = true)]
    Worker(worker::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().preset {
        Preset::Demo(args) if args.silence => block_on(demo::silence::demonstrate(&args)),
        Preset::Demo(args) => {
            demo::prepare(&args).and_then(|fleet| block_on(demo::demo(&args, &fleet)))
        }
        Preset::Soak(args) => {
            soak::prepare(&args).and_then(|found| block_on(soak::soak(&args, found)))
        }
        Preset::Stress(args) => block_on(stress::stress(&args)),
        Preset::Worker(options) => block_on(worker::run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                eprintln!("bmdb-soak: {message}");
            }
            failure.code()
        }
    }
}

fn block_on(work: impl Future<Output = Done>) -> Done {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
