//! The result of a search for a PostgreSQL.

use crate::installation::Installation;
use std::fmt;
use std::path::PathBuf;

/// A finished search for a PostgreSQL. Its `Display` lists the places that were tried.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields explain themselves")]
pub struct Lookup {
    /// The places that were tried, in order. If a server was found, the last one is its place.
    pub tried: Vec<TriedPlace>,
    pub result: LookupResult,
}

/// One place, and what was found there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TriedPlace {
    /// The place, as a person would name it.
    pub place: String,
    /// Why its server is used or not.
    pub reason: String,
}

/// Which server a search found.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields explain themselves")]
pub enum LookupResult {
    /// A server that already runs.
    Running { url: String },
    /// The programs to boot a server from.
    Installed(Installation),
    /// `BMDB_PG_BIN` is set but unusable. The search does not continue, because the tests would use
    /// another server than the one asked for.
    WrongPgBin { path: PathBuf, reason: String },
    /// No server.
    NotFound,
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_not_found = matches!(self.result, LookupResult::NotFound);
        if is_not_found {
            writeln!(f, "no PostgreSQL 14 or newer was found; tried:")?;
        }
        for TriedPlace { place, reason } in &self.tried {
            writeln!(f, "  {place}: {reason}")?;
        }
        if is_not_found {
            write!(f, "{INSTALL}")?;
        }
        Ok(())
    }
}

const INSTALL: &str = "Install one; nothing has to be started or configured:
  Debian, Ubuntu   apt-get install postgresql
  Fedora, RHEL     dnf install postgresql-server
  Alpine           apk add postgresql
  Arch             pacman -S postgresql
  macOS            brew install postgresql@17
  Windows          is not supported: use WSL
or set BMDB_PG_BIN to the folder of its programs, or BMDB_TEST_DATABASE_URL to the URL of a
running server on which databases may be created.";
