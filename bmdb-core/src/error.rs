//! What can go wrong, one variant per next step of the caller.

use bmdb_model::{ErrorKind, MachineId};
use chrono::{DateTime, Utc};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why connecting to a database failed. No password and no key is in any of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is no database URL, or one that asks for what cannot be: correct it, or the variable of
    /// the environment that it names.
    #[error(
        "not a usable database URL: {0}; expected postgres://user@host:port/database or \
         key=value pairs"
    )]
    InvalidUrl(String),
    /// A setting under which nothing would work.
    #[error("configuration: {field}: {problem}")]
    InvalidConfig {
        /// The field of [`Config`](crate::Config).
        field: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// Nobody answers there.
    #[error("cannot reach the database server at {target}: {source}; is it running and reachable?")]
    Unreachable {
        /// Host and port, or socket directory.
        target: String,
        /// The operating system's or the protocol's error.
        source: Source,
    },
    /// The server answers, and refuses: wrong password, no such database, too many connections.
    #[error("the database server at {target} refuses the connection: {message} (SQLSTATE {code})")]
    Refused {
        /// Host and port, or socket directory.
        target: String,
        /// The server's message.
        message: String,
        /// The SQLSTATE code.
        code: String,
    },
    /// What answers does not speak PostgreSQL's protocol.
    #[error("what answers at {target} is no PostgreSQL server: {source}")]
    NotPostgres {
        /// Host and port, or socket directory.
        target: String,
        /// What was wrong with its answer.
        source: Source,
    },
    /// A file of certificates, keys or passwords cannot be used: mend or replace it.
    #[error("{parameter}: {}: {problem}", path.display())]
    UnusableFile {
        /// The parameter of the URL that names it.
        parameter: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The server does not encrypt, and the connection must be encrypted: let it, or do without.
    #[error(
        "the database server at {target} has no TLS, without which a password could be read and \
         statements be changed on their way; switch it on there (ssl = on), or add sslmode=disable \
         if you mean it"
    )]
    NotEncrypted {
        /// Host and port.
        target: String,
    },
    /// The server's certificate is not one to be trusted. It may be another server, or one in between.
    #[error("the certificate of the database server at {target} is refused: {problem}")]
    ServerNotTrusted {
        /// Host and port.
        target: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The server does not trust the client's certificate, or misses one: name another with `sslcert`
    /// and `sslkey`.
    #[error("the database server at {target} refuses the client's certificate: {problem}")]
    ClientNotTrusted {
        /// Host and port.
        target: String,
        /// The server's reason, and which certificate it was shown.
        problem: String,
    },
    /// The two could not agree on how to encrypt.
    #[error("no encrypted connection to the database server at {target}: {source}")]
    Tls {
        /// Host and port.
        target: String,
        /// What went wrong.
        source: Source,
    },
    /// The server is not of the kind that `target_session_attrs` asks for: wait for a fail-over, or
    /// name the others too.
    #[error("the database server at {target} is not {wanted} (target_session_attrs)")]
    OtherRole {
        /// Host and port, or socket directory.
        target: String,
        /// The kind that is asked for.
        wanted: &'static str,
    },
    /// None of the servers that the URL names will do, each for a reason of its own.
    #[error("none of {} database servers will do: {}", .0.len(), each(.0))]
    NoServer(
        /// In the order in which they were tried.
        Vec<ConnectError>,
    ),
    /// The server is too old or another product.
    #[error(
        "the database server at {target} is version {version}; bmdb needs PostgreSQL 14 or newer"
    )]
    UnsupportedServer {
        /// Host and port, or socket directory.
        target: String,
        /// What the server calls its version.
        version: String,
    },
    /// No answer in time.
    #[error("no answer from the database server at {target} within {seconds} s")]
    Timeout {
        /// Host and port, or socket directory.
        target: String,
        /// The limit.
        seconds: f64,
    },
    /// The database has moved past this component, or a query about that failed.
    #[error(transparent)]
    Migration(#[from] bmdb_model::migration::MigrationError),
    /// Setting up the fresh connection failed.
    #[error("setting up the connection to {target} failed: {source}")]
    SetUp {
        /// Host and port, or socket directory.
        target: String,
        /// The database's reason.
        source: bmdb_model::Error,
    },
}

fn each(errors: &[ConnectError]) -> String {
    let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
    reasons.join("; ")
}

/// Why a transaction, or any other operation of a session, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// The session has expired or was closed: start a new one. Nothing was committed.
    #[error("the session has expired: start a new one")]
    SessionExpired,
    /// The session does not hold this work any more. Nothing was committed.
    #[error("the work is lost: the session does not hold it any more")]
    WorkLost,
    /// The connection broke during the commit, so whether it took effect is not known: look at what
    /// was to be written before doing it again.
    #[error("the connection broke during the commit, whose outcome is not known: {0}")]
    CommitUnknown(#[source] bmdb_model::Error),
    /// No connection could be had. Nothing was committed.
    #[error("no connection to the database: {0}")]
    Unavailable(#[source] Source),
    /// The database or the model refused something. Nothing was committed.
    #[error(transparent)]
    Database(#[from] bmdb_model::Error),
    /// The session's last heartbeat failed or is overdue, so no new work is taken on: wait for
    /// [`Session::wait_while_suspect`](crate::Session::wait_while_suspect), which the next heartbeat that goes through resolves.
    /// What is held may go on and end.
    #[error(
        "the session is suspect, for its last heartbeat was not answered: wait until it is live \
         again, or lost"
    )]
    Suspect,
    /// This component is draining: it takes on nothing new.
    #[error("draining: no new work is taken on")]
    Draining,
    /// A value that cannot be used.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which one.
        field: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The caller's closure gave up ([`TxError::abort`]). Nothing was committed.
    #[error("the transaction was aborted by its closure: {0}")]
    Aborted(#[source] Source),
}

impl TxError {
    /// The caller's own reason to give up a transaction; downcast it from [`TxError::Aborted`].
    #[must_use]
    pub fn abort(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Aborted(reason.into())
    }

    /// What a database error means for the next step; `None` when the database is not the reason.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Database(error) | Self::CommitUnknown(error) => Some(error.kind()),
            _ => None,
        }
    }
}

impl TxError {
    /// Whether it may pass by itself, for those who have all the time there is.
    pub(crate) fn may_pass(&self) -> bool {
        self.is_transient()
            || self.kind().is_some_and(|failure| {
                failure.is_retryable() || failure == ErrorKind::StatementTimeout
            })
    }

    /// Whether the database may answer if it is asked again.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
            || matches!(
                self.kind(),
                Some(ErrorKind::ConnectionLost | ErrorKind::LockTimeout)
            )
    }
}

impl From<diesel::result::Error> for TxError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Why [`Session::work`](crate::Session::work) started no work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The retrieval returned no machine.
    #[error("nothing to do")]
    NothingToDo,
    /// Somebody holds a process of the same lane on the machine: try another one, or later.
    #[error("machine {machine} is being worked on by a process of the same lane")]
    Conflict {
        /// The machine.
        machine: MachineId,
    },
    /// The process is backing off on the machine: wait.
    #[error("machine {machine} is backing off until {until}")]
    BackedOff {
        /// The machine.
        machine: MachineId,
        /// To when.
        until: DateTime<Utc>,
    },
    /// The machine is on hold: an operator has to release it.
    #[error("machine {machine} is on hold")]
    OnHold {
        /// The machine.
        machine: MachineId,
    },
    /// The session has expired or was closed: start a new one.
    #[error("the session has expired: start a new one")]
    SessionExpired,
    /// The session's last heartbeat failed or is overdue: wait, see [`TxError::Suspect`].
    #[error("{}", TxError::Suspect)]
    Suspect,
    /// The connection broke during the commit. What was claimed then is given back in the
    /// background: ask again.
    #[error("the connection broke during the commit, whose outcome is not known: {0}")]
    CommitUnknown(#[source] bmdb_model::Error),
    /// The database or the model refused something.
    #[error(transparent)]
    Database(bmdb_model::Error),
    /// Anything else that can befall a transaction.
    #[error(transparent)]
    Transaction(TxError),
}

impl From<TxError> for WorkError {
    fn from(error: TxError) -> Self {
        match error {
            TxError::SessionExpired => Self::SessionExpired,
            TxError::Suspect => Self::Suspect,
            TxError::CommitUnknown(source) => Self::CommitUnknown(source),
            TxError::Database(error) => Self::Database(error),
            other => Self::Transaction(other),
        }
    }
}

/// Why [`Bmdb::start_session`](crate::Bmdb::start_session) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The options contradict each other or are out of range.
    #[error("session options: {0}")]
    InvalidOptions(String),
    /// The database lacks migrations, or has moved past this component.
    #[error(transparent)]
    Migration(#[from] bmdb_model::migration::MigrationError),
    /// The database refused, or could not be reached.
    #[error(transparent)]
    Transaction(#[from] TxError),
}
