//! Development databases: `cargo xtask test`, `pg`, `migrate` and `schema`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task reports on the terminal"
)]

mod migrate;
mod pg;
mod schema;
mod test;

use bmdb_shell::exit;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Test run, servers, migrations and schema of the Bare Metal Database.
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
    Pg(pg::Pg),
    Migrate(migrate::Migrate),
    Schema(schema::Args),
}

fn main() -> ExitCode {
    exit(match Cli::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Pg(args) => pg::run(&args),
        Task::Migrate(args) => migrate::run(&args),
        Task::Schema(args) => schema::run(&args),
    })
}
