//! The project's own tasks: `cargo xtask --help`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task reports on the terminal"
)]

mod bench;
mod ci;
mod migrate;
mod pg;
mod schema;
mod server;
mod shell;
mod soak;
mod test;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tests, checks and migrations of the Bare Metal Database.
///
/// Exit codes: 0 done, 1 a check failed, 2 the request was wrong; `test` passes on the test
/// runner's.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Watch workers share a fleet: claim, fail, back off, die, take over, finish.
    ///
    /// `cargo xtask demo --help` lists the options of `bmdb-soak demo`.
    Demo(soak::Args),
    Test(test::Args),
    Ci(ci::Args),
    Bench(bench::Bench),
    /// Run workers under every kind of fault, and check that nothing was lost or done twice.
    ///
    /// `cargo xtask soak --help` lists the options of `bmdb-soak soak`.
    Soak(soak::Args),
    Migrate(migrate::Migrate),
    Schema(schema::Args),
    Tidy(tidy::Args),
    Pg(pg::Pg),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Demo(args) => soak::run("demo", &args),
        Task::Test(args) => test::run(&args),
        Task::Ci(ci::Args {}) => ci::run_all(),
        Task::Bench(args) => bench::run(&args),
        Task::Soak(args) => soak::run("soak", &args),
        Task::Pg(args) => pg::run(&args),
        Task::Migrate(args) => migrate::run(&args),
        Task::Schema(args) => schema::run(&args),
        Task::Tidy(tidy::Args {}) => tidy::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                eprintln!("cargo xtask: {message}");
            }
            ExitCode::from(failure.code())
        }
    }
}
