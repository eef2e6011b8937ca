//! Bench: the environment of the testkit's measurements, and their report.

use crate::report::Report;
use bmdb_shell::Failure;
use bmdb_testkit::{Installation, Lookup, OsUser, Places};
use std::path::PathBuf;

/// The environment of a measurement, and its report.
pub(super) struct Bench {
    pub(super) installation: Installation,
    /// Empty, and used by this benchmark only.
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

/// The operating system's user that a server of this process runs as.
pub(super) fn account() -> Result<OsUser, Failure> {
    OsUser::for_server().map_err(Failure::check)
}

pub(super) fn milliseconds(since: std::time::Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
