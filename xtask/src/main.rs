//! The project's own tasks: `cargo xtask --help`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task reports on the terminal"
)]

mod ci;
mod tidy;
mod tool;

use bmdb_shell::exit;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tool::Forwarded;

/// Tests, checks, tools and migrations of the Bare Metal Database.
///
/// Each task has its own --help. Tasks other than `ci` and `tidy` are programs in tools/, which
/// cargo builds first: on a fresh machine that takes some minutes, and cargo shows its progress.
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
    /// Show the main job: four workers share a fleet on a real server, and one is killed.
    #[command(disable_help_flag = true)]
    Demo(Forwarded),
    /// Run every test of the workspace on one PostgreSQL server.
    #[command(disable_help_flag = true)]
    Test(Forwarded),
    Ci(ci::Args),
    /// Measure what bmdb promises, beside the plainest way to do the same.
    #[command(disable_help_flag = true)]
    Bench(Forwarded),
    /// Let workers meet every fault there is, then check that nothing went wrong.
    #[command(disable_help_flag = true)]
    Soak(Forwarded),
    /// Write a new migration, or apply, revert, list or check migrations.
    #[command(disable_help_flag = true)]
    Migrate(Forwarded),
    /// Print the schema as Diesel has it, or compare it with the migrations.
    #[command(disable_help_flag = true)]
    Schema(Forwarded),
    Tidy(tidy::Args),
    /// List the public API of every published library in docs/api, or check these listings.
    #[command(disable_help_flag = true)]
    Api(Forwarded),
    /// See which PostgreSQL the tests use, or keep one running between test runs.
    #[command(disable_help_flag = true)]
    Pg(Forwarded),
}

fn main() -> ExitCode {
    exit(match Cli::parse().task {
        Task::Demo(arguments) => tool::become_tool("bmdb-soak", Some("demo"), &arguments),
        Task::Soak(arguments) => tool::become_tool("bmdb-soak", Some("soak"), &arguments),
        Task::Bench(arguments) => tool::become_tool("bmdb-bench", None, &arguments),
        Task::Test(arguments) => tool::become_tool("bmdb-dev", Some("test"), &arguments),
        Task::Pg(arguments) => tool::become_tool("bmdb-dev", Some("pg"), &arguments),
        Task::Migrate(arguments) => tool::become_tool("bmdb-dev", Some("migrate"), &arguments),
        Task::Schema(arguments) => tool::become_tool("bmdb-dev", Some("schema"), &arguments),
        Task::Api(arguments) => tool::become_tool("bmdb-api", None, &arguments),
        Task::Ci(ci::Args {}) => ci::run_all(),
        Task::Tidy(tidy::Args {}) => tidy::run(),
    })
}
