//! `cargo xtask bench`: measures on this machine what is promised.

mod claims;
mod cpu;
mod heartbeats;
mod report;
mod testkit;

use crate::shell::Done;
use clap::{Args, Subcommand};

/// Measure what is promised, on this machine, beside the plainest way to do the same.
///
/// Prints a table: the median, the 95th percentile, the least and the most, how often it was
/// measured, and whether each target holds. A missed target is printed and is no failure: a busy
/// machine misses many. The load average is printed too; believe the run with the lowest.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Claims(claims::Args),
    Heartbeats(heartbeats::Args),
    Testkit(testkit::Args),
    /// A process that a measurement starts.
    #[command(hide = true)]
    TestkitProcess {
        role: testkit::Role,
    },
}

pub(crate) fn run(bench: &Bench) -> Done {
    match &bench.what {
        What::Claims(args) => claims::run(args),
        What::Heartbeats(args) => heartbeats::run(args),
        What::Testkit(args) => testkit::run(args),
        What::TestkitProcess { role } => testkit::be(*role),
    }
}
