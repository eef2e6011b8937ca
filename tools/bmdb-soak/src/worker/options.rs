//! Options: the command line of a worker.

use std::path::PathBuf;

/// Works until SIGTERM.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    pub(super) database_url: String,
    /// The journal's file, which must not exist.
    #[arg(long)]
    pub(super) journal: PathBuf,
    /// Which of the run's workers this is.
    #[arg(long)]
    pub(super) number: u32,
    #[arg(long)]
    pub(super) seed: u64,
    /// How many sessions work at a time.
    #[arg(long, default_value_t = 1)]
    pub(super) sessions: u32,
    /// How many tasks share a session.
    #[arg(long, default_value_t = 5)]
    pub(super) tasks: usize,
    /// A URL for a connection that no fault hits. With it, the worker also makes its own sessions lose
    /// their leases, writes tags and sends heartbeats of agents, and takes no time between claims.
    #[arg(long)]
    pub(super) side_url: Option<String>,
}
