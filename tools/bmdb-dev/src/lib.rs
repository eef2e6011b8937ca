//! Development databases: the server that a task works on.
#![allow(
    clippy::print_stderr,
    reason = "a task says what it waits for on the terminal"
)]

pub mod server;

use bmdb_shell::{Done, Failure};

/// Runs asynchronous work to its end on a runtime of its own.
///
/// # Errors
/// What the work fails with, or that no runtime could be started.
pub fn block_on(work: impl Future<Output = Done>) -> Done {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::check)?
        .block_on(work)
}
