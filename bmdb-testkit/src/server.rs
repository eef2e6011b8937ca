//! A server to make databases on: one that was booted here, one that runs already, or the one that
//! all tests of this user share.

use crate::TestkitError;
use crate::installation::Installation;
use crate::lookup::{Lookup, LookupResult, Places};
use crate::os_user::OsUser;
use crate::profile::Profile;
use crate::running::{Booted, Shutdown};
use crate::seed::Seed;
use crate::shared::{Joined, shared};
use crate::supervisor::Keeper;
use crate::tcp::Listening;
use crate::template::Template;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A PostgreSQL server to make databases on.
///
/// One that was booted here is stopped, and its folder removed, when this value is dropped, when
/// [`Server::stop`] is called, and when the process dies, by whatever death.
#[derive(Debug)]
pub struct Server {
    url: String,
    pub(crate) kind: Kind,
    pub(crate) keeper: Arc<Keeper>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// Named by somebody, and nobody's to stop.
    Running,
    /// Booted here; others may have joined it.
    Booted(Booted),
    /// Booted by another process, which may be gone.
    Joined(Joined),
}

impl Server {
    /// The server that the environment names, or else one booted from what [`Lookup`] finds.
    ///
    /// Blocks for the time of a boot (0.1 s; 1 s the first time); call it from `spawn_blocking` in
    /// async code.
    ///
    /// # Errors
    /// Those of [`Lookup::installation`] and of booting.
    pub fn start(profile: Profile) -> Result<Self, TestkitError> {
        let lookup = Lookup::from_env();
        match &lookup.result {
            LookupResult::Running { url } => Self::running(url),
            _ => Self::boot(&lookup.installation()?, profile),
        }
    }

    /// The server that all tests of this user share, across processes: the one that the environment
    /// names, or one that runs, or else one that is booted now. [`TestDb::new`](crate::TestDb::new)
    /// uses it too. It stays until the last process that uses it has ended. Blocks as
    /// [`Server::start`] does, where it has to boot.
    ///
    /// # Errors
    /// Those of [`Server::start`].
    pub fn shared() -> Result<Arc<Self>, TestkitError> {
        shared(&Template::new())
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
        Ok(Self::new(url.to_owned(), Kind::Running))
    }

    /// Boots a server of this process alone from these programs. Blocks.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] with the server's log, [`TestkitError::Files`],
    /// [`TestkitError::NoOsUser`], [`TestkitError::TimedOut`].
    pub fn boot(installation: &Installation, profile: Profile) -> Result<Self, TestkitError> {
        let booted = boot(
            installation,
            profile,
            &Template::new(),
            0,
            &Listening::default(),
        )?;
        Ok(Self::new(booted.url(), Kind::Booted(booted)))
    }

    /// As [`Server::boot`], with everything it writes below this folder instead of the profile's: one on
    /// a small volume, say, that can be filled.
    ///
    /// Its path must not be longer than 70 bytes, or the server's socket has no room in it, and the
    /// server's account must be able to enter it.
    ///
    /// # Errors
    /// As [`Server::boot`].
    pub fn boot_in(
        folder: &Path,
        installation: &Installation,
        profile: Profile,
    ) -> Result<Self, TestkitError> {
        let account = OsUser::for_server()?;
        let booted = from_seed(installation, &account, &Template::new(), |seed| {
            Booted::boot_below(folder, installation, profile, &account, seed)
        })?;
        Ok(Self::new(booted.url(), Kind::Booted(booted)))
    }

    pub(crate) fn new(url: String, kind: Kind) -> Self {
        Self {
            keeper: Arc::new(Keeper::of(&url, matches!(kind, Kind::Running))),
            url,
            kind,
        }
    }

    pub(crate) fn new_standby(&self, standby: Booted) -> Self {
        let url = standby.url();
        Self {
            keeper: Arc::new(self.keeper.on_standby(&url)),
            url,
            kind: Kind::Booted(standby),
        }
    }

    /// A server that another process has booted, and to which this stream is open.
    pub(crate) fn joined(url: String, joined: Joined, stream: UnixStream) -> Self {
        Self {
            keeper: Arc::new(Keeper::of(&url, false).with_stream(stream)),
            url,
            kind: Kind::Joined(joined),
        }
    }

    /// The URL of its administrative database. Understood by libpq, tokio-postgres and Diesel.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of a server that the kit has booted: its data, its log and its socket.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Running => None,
            Kind::Booted(booted) => Some(booted.folder()),
            Kind::Joined(joined) => Some(joined.folder()),
        }
    }

    /// The `psql` that belongs to it, or for a server booted elsewhere one that is found here.
    pub(crate) fn psql(&self) -> PathBuf {
        let found = match &self.kind {
            Kind::Booted(booted) => Some(booted.psql()),
            Kind::Running | Kind::Joined(_) => {
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

    /// Kills the server and its processes with SIGKILL, as when the machine loses power, except that
    /// what it has written is written. Its data and its URL stay, for [`Server::restart`]. Blocks
    /// until it is gone.
    ///
    /// Only Linux tells which processes are the server's. Elsewhere only the main one is killed, and
    /// the others end when they notice, which one that computes does after its statement.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] where it does not run, or was not booted by [`Server::boot`].
    pub fn kill9(&self) -> Result<(), TestkitError> {
        self.own("killing the server")?.halt(Shutdown::Kill)
    }

    /// Lets the data outlive a server that ends by itself, as one may whose volume is full, so that
    /// [`Server::restart`] can start it again. It goes with this value, and with the process, all the
    /// same.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] where it was not booted by [`Server::boot`]; [`TestkitError::Files`].
    pub fn keep_data(&self) -> Result<(), TestkitError> {
        self.own("keeping the server's data")?.keep_data()
    }

    /// Starts the server again after [`Server::kill9`], after its supervisor was killed, or where it
    /// has ended by itself and [`Server::keep_data`] has kept its data; it recovers what its profile
    /// promises. Blocks until it answers.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] with the server's log, or where it runs, or was not booted by
    /// [`Server::boot`]; [`TestkitError::TimedOut`].
    pub fn restart(&self) -> Result<(), TestkitError> {
        self.own("restarting the server")?.restart()
    }

    /// Stops a server that was booted here, and returns when it and its folder are gone. A server
    /// that others may use is left alone.
    pub fn stop(self) {
        drop(self);
    }

    /// The server, if it is nobody else's, for a step that others would suffer from.
    pub(crate) fn own(&self, step: &str) -> Result<&Booted, TestkitError> {
        match &self.kind {
            Kind::Booted(booted) if !booted.is_shared() => Ok(booted),
            _ => Err(TestkitError::boot(
                step,
                "others use it too; do it to one of your own, from Server::boot",
            )),
        }
    }
}

/// Boots a server that has this template already.
pub(crate) fn boot(
    installation: &Installation,
    profile: Profile,
    template: &Template,
    linger: u64,
    listening: &Listening,
) -> Result<Booted, TestkitError> {
    let account = OsUser::for_server()?;
    from_seed(installation, &account, template, |seed| {
        Booted::boot(installation, profile, &account, seed, linger, listening)
    })
}

/// Boots from a seed, and once more from a new one.
fn from_seed(
    installation: &Installation,
    account: &OsUser,
    template: &Template,
    boot: impl Fn(&Path) -> Result<Booted, TestkitError>,
) -> Result<Booted, TestkitError> {
    let seed = Seed::find_or_make(installation, account, template)?;
    match boot(&seed.path) {
        // An old seed may have lost a part to a cleaner of temporary files.
        Err(_) if !seed.is_new => {
            seed.discard();
            boot(&Seed::find_or_make(installation, account, template)?.path)
        }
        booted => booted,
    }
}
