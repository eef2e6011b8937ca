//! Bench: what a measurement of the testkit works with, and adds its rows to.

use crate::report::Report;
use bmdb_shell::Failure;
use bmdb_testkit::{Account, Installation, Lookup, Places};
use std::path::PathBuf;

/// What a measurement works with, and adds its rows to.
pub(super) struct Bench {
    pub(super) installation: Installation,
    /// Empty, and nobody else's.
    pub(super) folder: PathBuf,
    pub(super) samples: Option<usize>,
    pub(super) report: Report,
}

impl Bench {
    pub(super) fn samples(&self, usual: usize) -> usize {
        self.samples.unwrap_or(usual)
    }
}

pub(super) fn find() -> Result<Installation, Failure> {
    let lookup = Lookup::search(&Places::from_env());
    lookup.installation().map_err(Failure::check)
}

/// Whether a server of this process runs as another account, which has to reach its files.
pub(super) fn account() -> Result<Account, Failure> {
    Account::for_server().map_err(Failure::check)
}

pub(super) fn milliseconds(since: std::time::Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
