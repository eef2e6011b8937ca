//! What can go wrong between a test and its database, and what to do about it.

use crate::lookup::Lookup;
use bmdb_model::SessionId;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why there is no test database, or why something asked of one failed.
///
/// `Debug` prints the same as `Display`: it is what a test that returns the error shows.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TestkitError {
    /// No PostgreSQL anywhere: install one, as the message says, or point at one.
    #[error("{0}")]
    NoPostgres(Lookup),
    /// `BMDB_PG_BIN` is set, but what it names cannot be used: correct or unset it.
    #[error(
        "BMDB_PG_BIN is {}, but {reason}; set it to a folder that holds `postgres` and `initdb` \
         of PostgreSQL 14 or newer, or unset it", path.display()
    )]
    WrongPgBin {
        /// The variable's value.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The running server that was named cannot be used: correct or unset its URL.
    #[error(
        "the test server's URL (BMDB_TEST_DATABASE_URL) cannot be used: {reason}; correct it, or \
         unset it and a server is booted"
    )]
    WrongUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// A proxy was given a URL that does not name the one server to stand before: correct it.
    #[error("the URL of the proxy's server cannot be used: {reason}")]
    NoTarget {
        /// What is wrong with it.
        reason: String,
    },
    /// A proxy cannot listen, for the operating system's reason.
    #[error("a proxy cannot listen at {place}: {source}")]
    Listen {
        /// The address, the socket or the socket's folder.
        place: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// PostgreSQL refuses to run as root, and there is no account to run it as instead.
    #[error("{reason}; set BMDB_TESTKIT_USER to an unprivileged account for the server to run as")]
    NoOsUser {
        /// Which accounts were tried.
        reason: String,
    },
    /// A step of preparing or booting the server failed; the reason has the server's own words.
    #[error("{step} failed: {reason}")]
    Boot {
        /// What was being done.
        step: String,
        /// What happened, with the fix where one is known.
        reason: String,
    },
    /// A file or folder that the kit needs could not be made or read.
    #[error("{}: {source}; set BMDB_TESTKIT_CACHE to a folder that can be written", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Something that another process or a server does took longer than the limit.
    #[error(
        "waited {} s for {what}; end what hangs, or set BMDB_TESTKIT_TIMEOUT to more seconds",
        limit.as_secs()
    )]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// The volume that the server's data is on is full.
    #[error(
        "the test server has no room left: {reason}; databases of failed tests are kept and take \
         some: end the server, or set BMDB_TESTKIT_DATA to a folder on a larger volume"
    )]
    NoRoom {
        /// The server's words.
        reason: String,
    },
    /// There is no such session to expire: it was closed, or belongs to another database.
    #[error("this database has no session {0}")]
    UnknownSession(SessionId),
    /// [`TestDb::at_version`](crate::TestDb::at_version) was given a version that does not exist.
    #[error("there is no migration {version}; the known ones are {}", known.join(", "))]
    UnknownVersion {
        /// The version asked for.
        version: String,
        /// The versions there are.
        known: Vec<String>,
    },
    /// A step of making the template database failed: repair the migration or the seed.
    #[error("the template database cannot be made: {step}: {reason}")]
    Template {
        /// The migration or the seed.
        step: String,
        /// What went wrong in it.
        reason: String,
    },
    /// `BMDB_TEST_ROLE` names no role to test as: correct or unset it.
    #[error("BMDB_TEST_ROLE is {value:?}; set it to `component`, or unset it")]
    WrongRole {
        /// The variable's value.
        value: String,
    },
    /// The server refused a statement, or could not be reached.
    #[error("{}", with_detail(.0))]
    Database(#[from] tokio_postgres::Error),
    /// Diesel refused a statement, or could not connect.
    #[error("{0}")]
    Diesel(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TestkitError {
    pub(crate) fn boot(step: impl Into<String>, reason: impl ToString) -> Self {
        Self::Boot {
            step: step.into(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn files(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Files { path, source }
    }
}

impl fmt::Debug for TestkitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<diesel::result::Error> for TestkitError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Diesel(Box::new(error))
    }
}

impl From<diesel::ConnectionError> for TestkitError {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::Diesel(Box::new(error))
    }
}

/// tokio-postgres prints only "db error" and leaves the server's words, and the operating system's,
/// to the source.
pub(crate) fn with_detail(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
