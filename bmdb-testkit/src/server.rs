//! An ephemeral server: booted from the seed, reached by a unix socket, gone with its owner.

use crate::TestkitError;
use crate::account::Account;
use crate::installation::Installation;
use crate::keeper::Keeper;
use crate::lookup::{Lookup, Places, Verdict};
use crate::profile::Profile;
use crate::seed;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The options of every profile. English messages because a deadlock can be told only by its text.
const OPTIONS: &[&str] = &[
    "listen_addresses=",
    "max_connections=300",
    "lc_messages=C",
    "timezone=UTC",
    "log_timezone=UTC",
];

const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

/// A PostgreSQL server to make databases on.
///
/// One that was booted here is stopped, and its folder removed, when this value is dropped, when
/// [`Server::stop`] is called, and when the process dies, by whatever death.
#[derive(Debug)]
pub struct Server {
    url: String,
    booted: Option<Booted>,
    pub(crate) keeper: Arc<Keeper>,
}

#[derive(Debug)]
struct Booted {
    folder: PathBuf,
    psql: PathBuf,
    /// Its standard input is the pipe whose end stops the server.
    watcher: Child,
}

impl Server {
    /// The server that the environment names, or else one booted from what [`Lookup`] finds.
    ///
    /// Blocks for the time of a boot (50 ms; 400 ms the first time); call it from
    /// `spawn_blocking` in async code.
    ///
    /// # Errors
    /// Those of [`Lookup::installation`] and of booting.
    pub fn start(profile: Profile) -> Result<Self, TestkitError> {
        let lookup = Lookup::from_env();
        match &lookup.verdict {
            Verdict::Running { url } => Self::running(url),
            _ => Self::boot(&lookup.installation()?, profile),
        }
    }

    /// A server that runs already, on which this user may create databases.
    ///
    /// # Errors
    /// [`TestkitError::WrongUrl`] where the URL cannot be read. It is not connected to yet.
    pub fn running(url: &str) -> Result<Self, TestkitError> {
        url.parse::<tokio_postgres::Config>()
            .map_err(|error| TestkitError::WrongUrl {
                reason: error.to_string(),
            })?;
        Ok(Self {
            booted: None,
            keeper: Arc::new(Keeper::of(url)),
            url: url.to_owned(),
        })
    }

    /// Boots a server from these programs. Blocks.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] with the server's log, [`TestkitError::Files`],
    /// [`TestkitError::NoAccount`].
    pub fn boot(installation: &Installation, profile: Profile) -> Result<Self, TestkitError> {
        let account = Account::for_server()?;
        let seed = seed::seed(installation, &account)?;
        let folder = profile.folder().join(format!("bmdb-{}", short_id()));
        account.create_dir(&folder)?;
        let started = copy(&seed, &folder, &account)
            .and_then(|()| start(installation, profile, &folder, &account));
        match started {
            Ok(watcher) => {
                let url = format!(
                    "postgresql://postgres@/postgres?host={}",
                    folder.to_string_lossy()
                );
                Ok(Self {
                    booted: Some(Booted {
                        folder,
                        psql: installation.program("psql"),
                        watcher,
                    }),
                    keeper: Arc::new(Keeper::of(&url)),
                    url,
                })
            }
            Err(error) => {
                // Best effort: the watcher removes it as well.
                let _ = fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    /// The URL of its administrative database. Understood by libpq, tokio-postgres and Diesel.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of a server that was booted here: its data, its log and its socket.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.booted.as_ref().map(|booted| booted.folder.as_path())
    }

    /// The `psql` that belongs to it, or for a server booted elsewhere one that is found here.
    pub(crate) fn psql(&self) -> PathBuf {
        let found = match &self.booted {
            Some(booted) => Some(booted.psql.clone()),
            None => {
                let places = Places {
                    database_url: None,
                    ..Places::from_env()
                };
                let installation = Lookup::search(&places).installation();
                installation.ok().map(|i| i.program("psql"))
            }
        };
        found
            .filter(|psql| psql.is_file())
            .unwrap_or_else(|| PathBuf::from("psql"))
    }

    /// Stops a server that was booted here, and returns when it and its folder are gone. A server
    /// that ran already is left alone.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(Booted { watcher, .. }) = &mut self.booted {
            drop(watcher.stdin.take());
            // A watcher that cannot be waited for is gone, and the server with it.
            let _ = watcher.wait();
        }
    }
}

fn copy(seed: &Path, folder: &Path, account: &Account) -> Result<(), TestkitError> {
    let mut cp = account.command(Path::new("cp"));
    cp.arg("-R").arg(seed).arg(folder.join("data"));
    account.run("copying the seed", cp)
}

fn start(
    installation: &Installation,
    profile: Profile,
    folder: &Path,
    account: &Account,
) -> Result<Child, TestkitError> {
    let log_path = folder.join("log");
    let log = File::create(&log_path).map_err(TestkitError::files(&log_path))?;
    let mut shell = account.command(Path::new("/bin/sh"));
    shell
        .args(["-c", include_str!("watched.sh"), "bmdb-testkit"])
        .arg(folder)
        .arg(installation.program("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .arg("-k")
        .arg(folder)
        .args(
            OPTIONS
                .iter()
                .chain(profile.options())
                .flat_map(|option| ["-c", option]),
        )
        .stdin(Stdio::piped())
        .stdout(log.try_clone().map_err(TestkitError::files(&log_path))?)
        .stderr(log)
        // Its own group: Ctrl-C at the terminal, and a runner that kills a test's group, must not
        // take the watcher away before it has cleaned up.
        .process_group(0);
    // The folder goes with the server, so the log is kept open to be read after a failed boot.
    let mut log = File::open(&log_path).map_err(TestkitError::files(&log_path))?;
    let mut watcher = shell
        .spawn()
        .map_err(|error| TestkitError::boot("starting /bin/sh", error))?;
    match wait_until_ready(&mut watcher, folder) {
        Ok(()) => Ok(watcher),
        Err(why) => {
            drop(watcher.stdin.take());
            let _ = watcher.wait();
            let mut text = String::new();
            // An unreadable log must not hide that the boot failed.
            let _ = log.read_to_string(&mut text);
            Err(TestkitError::boot(
                format!("booting {installation}"),
                format!("{why}; its log:\n{}", text.trim()),
            ))
        }
    }
}

/// Polls each millisecond the line of `postmaster.pid` in which the server tells its state.
fn wait_until_ready(watcher: &mut Child, folder: &Path) -> Result<(), String> {
    let state_file = folder.join("data/postmaster.pid");
    let begun = Instant::now();
    loop {
        let state = fs::read_to_string(&state_file).unwrap_or_default();
        if state
            .lines()
            .nth(7)
            .is_some_and(|line| line.trim() == "ready")
        {
            return Ok(());
        }
        if let Ok(Some(status)) = watcher.try_wait() {
            return Err(format!("the server ended with {status}"));
        }
        if begun.elapsed() > BOOT_TIMEOUT {
            return Err(format!("it was not ready after {BOOT_TIMEOUT:?}"));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn short_id() -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(12);
    id
}
