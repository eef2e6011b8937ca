//! Benchmark: measures on this machine what bmdb promises.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task reports on the terminal"
)]

mod claims;
mod comparison;
mod cpu;
mod heartbeats;
mod machine;
mod report;
mod tables;
mod testkit;

use bmdb_shell::exit;
use claims::Whole;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Measure what bmdb promises, beside the simplest way to do the same.
///
/// Without a subcommand it measures everything that involves a database, on one durable server with
/// PostgreSQL's default settings, in about twenty minutes, and writes the result into docs/bench.
///
/// success: claims that are finished with a write, 1 to 200 at once and in batches, by hand and by the
/// runner, beside pgbench with the same statements and beside two bare statements. retries: machines that
/// fail once and then succeed. anatomy: what each statement of a success costs, and what it writes into each
/// table and index. cycles: claims and failures by 1 to 64 workers, each alone and as one loop, beside
/// pgbench with the same statements. limits: the same with and without a limit. batches: many machines per
/// statement. latency: claims during planning, trimming and reclaiming. wakeups: from a tag's commit to the
/// claim. buffers: by size of the fleet. growth: tables and indexes over a million cycles. heartbeats: of
/// agents. backoff: beside another crate. The fleet is so large that the queue never runs empty: a failed
/// machine rests for a second. Every attempt is recorded.
///
/// Prints the median, the 95th percentile, the range, the number of samples, and whether each target
/// holds. A missed target does not fail the run, because a busy machine misses many. Compare the
/// printed load averages, and trust the run with the lowest.
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
    /// Measure only claims and their ends: everything but heartbeats and backoff.
    Claims(claims::Args),
    Comparison(comparison::Args),
    Heartbeats(heartbeats::Args),
    Tables(tables::Args),
    Testkit(testkit::Args),
    /// A process started by a measurement.
    #[command(hide = true)]
    TestkitProcess {
        role: testkit::Role,
    },
}

fn main() -> ExitCode {
    let bench = Bench::parse();
    // On standard error: standard output may be one line of JSON.
    if bench.what.is_none() {
        eprintln!(
            "Measuring on a server of its own. A complete run takes about twenty minutes; the first one \
             also builds the load with optimisation, which takes some minutes."
        );
    }
    exit(match &bench.what {
        None => claims::run(&bench.whole, Whole::All),
        Some(What::Claims(args)) => claims::run(args, Whole::Claims),
        Some(What::Comparison(args)) => comparison::run(args),
        Some(What::Heartbeats(args)) => heartbeats::run(args),
        Some(What::Tables(args)) => tables::run(args),
        Some(What::Testkit(args)) => testkit::run(args),
        Some(What::TestkitProcess { role }) => testkit::be(*role),
    })
}
