//! A server to make databases on: booted by this process, booted by another one, or already running.

use crate::TestkitError;
use crate::installation::Installation;
use crate::lookup::{Lookup, LookupResult, Places};
use crate::manager::DatabaseManager;
use crate::os_user::OsUser;
use crate::profile::Profile;
use crate::running::{Boot, RunningServer, Shutdown};
use crate::seed::boot_from_seed;
use crate::tcp::{Endpoint, Tcp};
use crate::template::Template;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How often [`Server::boot_tcp`] tries a port: another process may take it before the server listens.
const TRIES: usize = 3;

/// A PostgreSQL server to make databases on.
///
/// A server that this process has booted stops, and its folder is removed, when this value is dropped,
/// when [`Server::stop`] is called, and when the process dies, for whatever reason.
#[derive(Debug)]
pub struct Server {
    url: String,
    pub(crate) kind: Kind,
    pub(crate) manager: Arc<DatabaseManager>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// Named by its URL. The kit never stops it.
    External,
    /// Booted by this process; others may have joined it.
    Booted(RunningServer),
    /// Booted by another process, which may have ended. The value holds the server's lease.
    Joined {
        folder: PathBuf,
        _lease: crate::lease::Lease,
    },
}

impl Server {
    /// The server that the environment names, or else one booted from what [`Lookup`] finds.
    ///
    /// Blocks for the time of a boot (0.1 s; 1 s the first time). In async code call it from
    /// `spawn_blocking`.
    ///
    /// # Errors
    /// Those of [`Lookup::installation`] and of [`Server::boot`].
    pub fn start(profile: Profile) -> Result<Self, TestkitError> {
        let lookup = Lookup::from_env();
        match &lookup.result {
            LookupResult::Running { url } => Self::running(url),
            _ => Self::boot(&lookup.installation()?, profile),
        }
    }

    /// A server that already runs, on which this user may create databases. This does not connect.
    ///
    /// # Errors
    /// [`TestkitError::WrongUrl`] if the URL cannot be parsed.
    pub fn running(url: &str) -> Result<Self, TestkitError> {
        url.parse::<tokio_postgres::Config>()
            .map_err(|error| TestkitError::WrongUrl {
                reason: error.to_string(),
            })?;
        Ok(Self {
            manager: Arc::new(DatabaseManager::of(url, true)),
            url: url.to_owned(),
            kind: Kind::External,
        })
    }

    /// Boots a server from these programs that only this process uses. Blocks.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] with the server's log, [`TestkitError::Files`],
    /// [`TestkitError::NoOsUser`], [`TestkitError::TimedOut`].
    pub fn boot(installation: &Installation, profile: Profile) -> Result<Self, TestkitError> {
        let user = OsUser::for_server()?;
        Self::boot_with(&Boot::new(installation, profile, &user))
    }

    /// Like [`Server::boot`], with everything that the server writes below this folder instead of the
    /// profile's; for example on a small volume, to fill it.
    ///
    /// The folder's path must not be longer than 70 bytes, because the socket's path would be too
    /// long, and the server's user must be able to enter it.
    ///
    /// # Errors
    /// As [`Server::boot`].
    pub fn boot_in(
        folder: &Path,
        installation: &Installation,
        profile: Profile,
    ) -> Result<Self, TestkitError> {
        let user = OsUser::for_server()?;
        Self::boot_with(&Boot {
            parents: vec![folder.to_owned()],
            ..Boot::new(installation, profile, &user)
        })
    }

    /// Like [`Server::boot`], with a server that also listens on TCP, at 127.0.0.1 and
    /// [`Server::port`]. [`Server::url`] is that of its unix socket, which is never encrypted.
    ///
    /// # Errors
    /// Those of [`Server::boot`]; [`TestkitError::Listen`] if there is no free port.
    pub fn boot_tcp(
        installation: &Installation,
        profile: Profile,
        tcp: &Tcp,
    ) -> Result<Self, TestkitError> {
        let user = OsUser::for_server()?;
        let boot = || {
            Self::boot_with(&Boot {
                endpoint: Endpoint::on_free_port(tcp)?,
                ..Boot::new(installation, profile, &user)
            })
        };
        let is_taken = |error: &TestkitError| error.to_string().contains("Address already in use");
        for _ in 1..TRIES {
            match boot() {
                Err(error) if is_taken(&error) => {}
                booted => return booted,
            }
        }
        boot()
    }

    fn boot_with(boot: &Boot<'_>) -> Result<Self, TestkitError> {
        Ok(Self::booted(boot_from_seed(boot, &Template::new())?))
    }

    pub(crate) fn booted(server: RunningServer) -> Self {
        let url = server.url();
        Self {
            manager: Arc::new(DatabaseManager::of(&url, false)),
            url,
            kind: Kind::Booted(server),
        }
    }

    pub(crate) fn with_standby(&self, standby: RunningServer) -> Self {
        let url = standby.url();
        Self {
            manager: Arc::new(self.manager.on_standby(&url)),
            url,
            kind: Kind::Booted(standby),
        }
    }

    /// A server that another process has booted. `stream` is an open connection to it.
    pub(crate) fn joined(url: String, kind: Kind, stream: UnixStream) -> Self {
        Self {
            manager: Arc::new(DatabaseManager::of(&url, false).with_stream(stream)),
            url,
            kind,
        }
    }

    /// The URL of its administrative database. libpq, tokio-postgres and Diesel read it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of a server that the kit has booted. It contains its data, its log and its socket.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match &self.kind {
            Kind::External => None,
            Kind::Booted(server) => Some(server.folder()),
            Kind::Joined { folder, .. } => Some(folder),
        }
    }

    /// The TCP port of a server of [`Server::boot_tcp`].
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.kind {
            Kind::Booted(server) => server.tcp_port(),
            Kind::External | Kind::Joined { .. } => None,
        }
    }

    /// The server's own `psql`, or one that is found here for a server booted elsewhere.
    pub(crate) fn psql(&self) -> PathBuf {
        let found = match &self.kind {
            Kind::Booted(server) => Some(server.psql()),
            Kind::External | Kind::Joined { .. } => {
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

    /// Kills the server and its processes with SIGKILL. As in a power failure they cannot clean up, but
    /// everything they have written stays written. The data and the URL stay, for
    /// [`Server::restart`]. Blocks until the server is gone.
    ///
    /// Only Linux tells which processes are the server's. Elsewhere only the main one is killed, and
    /// the others end when they notice; a process that computes notices after its statement.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] if it does not run, or was not booted by [`Server::boot`].
    pub fn kill9(&self) -> Result<(), TestkitError> {
        self.own("killing the server")?.halt(Shutdown::Kill)
    }

    /// Keeps the data of a server that ends by itself, for example because its volume is full, so that
    /// [`Server::restart`] can start it again. The data is still removed with this value and with the
    /// process.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] if it was not booted by [`Server::boot`]; [`TestkitError::Files`].
    pub fn keep_data(&self) -> Result<(), TestkitError> {
        self.own("keeping the server's data")?.keep_data()
    }

    /// Starts the server again after [`Server::kill9`], after its supervisor was killed, or after it
    /// ended by itself and [`Server::keep_data`] kept its data. It recovers what its profile promises.
    /// Blocks until it answers.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] with the server's log, or if it runs, or was not booted by
    /// [`Server::boot`]; [`TestkitError::TimedOut`].
    pub fn restart(&self) -> Result<(), TestkitError> {
        self.own("restarting the server")?.restart()
    }

    /// Stops a server that this process has booted, and returns when it and its folder are gone. A
    /// server that other processes may use continues to run.
    pub fn stop(self) {
        drop(self);
    }

    /// The server, if no other process uses it. `step` would affect the others.
    pub(crate) fn own(&self, step: &str) -> Result<&RunningServer, TestkitError> {
        match &self.kind {
            Kind::Booted(server) if !server.is_shared() => Ok(server),
            _ => Err(TestkitError::boot(
                step,
                "others use it too; use a server of your own, from Server::boot",
            )),
        }
    }
}
