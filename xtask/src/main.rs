//! The project's own tasks: `cargo xtask --help`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task reports on the terminal"
)]

mod shell;
mod test;

use clap::{Parser, Subcommand};
use shell::Failure;
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
    Test(test::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Test(args) => test::run(&args),
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
