//! Benchmark: measures on this machine what bmdb promises.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task reports on the terminal"
)]

mod claims;
mod cpu;
mod heartbeats;
mod machine;
mod report;
mod testkit;

use bmdb_shell::exit;
use claims::Whole;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Measure what is promised, on this machine, beside the plainest way to do the same.
///
/// Without a subcommand everything that goes on in a database, in one run on one durable server with
/// PostgreSQL's defaults, in about ten minutes; the result is written into docs/bench.
///
/// cycles: claims and failures by 1 to 64 workers, each for itself and as one loop, taking turns with
/// pgbench that runs the same statements. batches: many machines by one statement. latency: of claims
/// while planning, trimming and the janitor go on. buffers: by the size of the fleet. growth: of
/// tables and indexes over a million cycles. heartbeats: of agents. backoff: beside another crate.
/// The fleet is so large that the queue never runs dry: a failed machine rests for a second. Every
/// failure is recorded.
///
/// Prints a table: the median, the 95th percentile, the least and the most, how often it was
/// measured, and whether each target holds. A missed target is printed and is no failure: a busy
/// machine misses many. The load average is printed too; believe the run with the lowest.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask bench",
    bin_name = "cargo xtask bench",
    args_conflicts_with_subcommands = true
)]
struct Bench {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    whole: claims::Args,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure only claims and failures: cycles, batches, latency, buffers and growth.
    Claims(claims::Args),
    Heartbeats(heartbeats::Args),
    Testkit(testkit::Args),
    /// A process that a measurement starts.
    #[command(hide = true)]
    TestkitProcess {
        role: testkit::Role,
    },
}

fn main() -> ExitCode {
    let bench = Bench::parse();
    exit(match &bench.what {
        None => claims::run(&bench.whole, Whole::All),
        Some(What::Claims(args)) => claims::run(args, Whole::Claims),
        Some(What::Heartbeats(args)) => heartbeats::run(args),
        Some(What::Testkit(args)) => testkit::run(args),
        Some(What::TestkitProcess { role }) => testkit::be(*role),
    })
}
