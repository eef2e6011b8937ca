//! The error of the testkit: each variant names what to do.

use crate::lookup::Lookup;
use crate::timeout::timeout;
use bmdb_model::SessionId;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why there is no test database, or why a call on one failed.
///
/// `Debug` prints the same text as `Display`, because a test that returns the error prints `Debug`.
#[derive(thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages explain the fields")]
pub enum TestkitError {
    /// No PostgreSQL was found: install one, as the message says, or name one.
    #[error("{0}")]
    NoPostgres(Lookup),
    /// `BMDB_PG_BIN` names no usable installation: correct or unset it.
    #[error(
        "BMDB_PG_BIN is {}, but {reason}; set it to a folder that contains `postgres` and `initdb` \
         of PostgreSQL 14 or newer, or unset it", path.display()
    )]
    WrongPgBin { path: PathBuf, reason: String },
    /// The running server that was named cannot be used: correct or unset its URL.
    #[error(
        "the test server's URL (BMDB_TEST_DATABASE_URL) cannot be used: {reason}; correct it, or \
         unset it to boot a server"
    )]
    WrongUrl { reason: String },
    /// A proxy's URL does not name exactly one server: correct it.
    #[error("the URL of the proxy's server cannot be used: {reason}")]
    NoTarget { reason: String },
    /// A proxy, or a server over TCP, cannot listen.
    #[error("cannot listen at {address}: {source}")]
    Listen { address: String, source: io::Error },
    /// PostgreSQL refuses to run as root, and there is no other user to run it as.
    #[error("{reason}; set BMDB_TESTKIT_USER to an unprivileged user for the server to run as")]
    NoOsUser { reason: String },
    /// A step of preparing or booting the server failed; the reason quotes the server.
    #[error("{step} failed: {reason}")]
    Boot { step: String, reason: String },
    /// A file or folder that the kit needs could not be created or read.
    #[error("{}: {source}; set BMDB_TESTKIT_CACHE to a folder that can be written", path.display())]
    Files { path: PathBuf, source: io::Error },
    /// Another process or a server took longer than the timeout.
    #[error(
        "waited {} s for {what}; end what hangs, or set BMDB_TESTKIT_TIMEOUT to more seconds",
        limit.as_secs()
    )]
    TimedOut { what: String, limit: Duration },
    /// The volume with the server's data is full.
    #[error(
        "the test server has no room left: {reason}; databases of failed tests are kept and take \
         some: end the server, or set BMDB_TESTKIT_DATA to a folder on a larger volume"
    )]
    NoRoom { reason: String },
    /// The session to expire does not exist: it was closed, or belongs to another database.
    #[error("this database has no session {0}")]
    UnknownSession(SessionId),
    /// [`TestDb::at_version`](crate::TestDb::at_version) got a version that does not exist.
    #[error("there is no migration {version}; the known ones are {}", known.join(", "))]
    UnknownVersion { version: String, known: Vec<String> },
    /// A step of making the template database failed: repair the migration or the seed.
    #[error("the template database cannot be made: {step}: {reason}")]
    Template { step: String, reason: String },
    /// `BMDB_TEST_ROLE` names no role for tests: correct or unset it.
    #[error("BMDB_TEST_ROLE is {value:?}; set it to `component`, or unset it")]
    WrongRole { value: String },
    /// The server rejected a statement, or could not be reached.
    #[error("{}", with_detail(.0))]
    Database(#[from] tokio_postgres::Error),
    /// Diesel rejected a statement, or could not connect.
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

    pub(crate) fn timed_out(what: impl Into<String>) -> Self {
        Self::TimedOut {
            what: what.into(),
            limit: timeout(),
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

/// An error with its source: tokio-postgres itself prints only "db error", without the message of the
/// server or the operating system.
pub(crate) fn with_detail(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
