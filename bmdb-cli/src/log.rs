//! What the libraries tell while a command runs, on standard error.

use crate::global::Global;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts telling. A program that runs for good tells what it does without being asked.
pub(crate) fn start(global: &Global, runs_for_good: bool) {
    let level = match (global.quiet, global.verbose, runs_for_good) {
        (true, ..) => "error",
        // Whoever waits for a migration wants to know for whom.
        (_, 0, false) => "warn,bmdb_core::migrate=info",
        (_, 0, true) => "warn,bmdb=info,bmdb_core=info,bmdb_web=info",
        (_, 1, _) => "warn,bmdb=info,bmdb_core=info,bmdb_model=info,bmdb_web=info",
        (_, 2, _) => "info,bmdb=debug,bmdb_core=debug,bmdb_model=debug,bmdb_web=debug",
        (_, 3.., _) => "trace",
    };
    let filter = std::env::var("RUST_LOG")
        .ok()
        .filter(|directives| !directives.is_empty())
        .and_then(|directives| directives.parse().ok())
        .unwrap_or_else(|| EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(crate::output::colours(
            global,
            std::io::stderr().is_terminal(),
        ));
    if global.json {
        log.json().init();
    } else if runs_for_good {
        log.init();
    } else {
        log.without_time().with_target(false).init();
    }
}
