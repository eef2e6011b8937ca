//! Errors, with one variant per next step of the caller.
//!
//! The text of an error includes the text of its cause. Therefore `source()` skips that cause and never
//! returns an error whose text has been printed.

use bmdb_model::{ErrorKind, MachineId, Process};
use chrono::{DateTime, Utc};
use std::error::Error;

type Reason = Box<dyn Error + Send + Sync>;

/// Why connecting to a database failed. It never contains a password or a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "`target` is the host and port or the socket's path, `problem` says what is wrong and \
              what is expected"
)]
pub enum ConnectError {
    /// The text is not a database URL, or contradicts itself: correct it, or the environment variable that
    /// the error names.
    #[error(
        "not a usable database URL: {0}; expected postgres://user@host:port/database or \
         key=value pairs"
    )]
    InvalidUrl(String),
    /// A field of [`Config`](crate::Config) has an unusable value.
    #[error("configuration: {field}: {problem}")]
    InvalidConfig {
        field: &'static str,
        problem: String,
    },
    /// No server answers at the target.
    #[error("cannot reach the database server at {target}: {reason}; is it running and reachable?")]
    Unreachable { target: String, reason: Reason },
    /// The server answers and refuses: wrong password, no such database, too many connections.
    #[error("the database server at {target} refuses the connection: {message} (SQLSTATE {code})")]
    Refused {
        target: String,
        message: String,
        code: String,
    },
    /// The server does not speak PostgreSQL's protocol.
    #[error("the server at {target} is not a PostgreSQL server: {reason}")]
    NotPostgres { target: String, reason: Reason },
    /// A file of certificates, keys or passwords is unusable: repair or replace it. `parameter` is the
    /// parameter of the URL that names the file.
    #[error("{parameter}: {}: {problem}", path.display())]
    UnusableFile {
        parameter: &'static str,
        path: std::path::PathBuf,
        problem: String,
    },
    /// The server does not encrypt, and the connection must be encrypted: enable TLS on the server, or allow
    /// unencrypted connections.
    #[error(
        "the database server at {target} has no TLS, so passwords could be read and statements \
         changed in transit; enable it on the server (ssl = on), or add sslmode=disable to \
         connect without encryption"
    )]
    NotEncrypted { target: String },
    /// The server's certificate is not trusted. It may belong to another server, or to an attacker in
    /// between.
    #[error("the certificate of the database server at {target} is refused: {problem}")]
    ServerNotTrusted { target: String, problem: String },
    /// The server does not trust the client's certificate, or requires one: name another with `sslcert` and
    /// `sslkey`. `problem` includes the certificate that was sent.
    #[error("the database server at {target} refuses the client's certificate: {problem}")]
    ClientNotTrusted { target: String, problem: String },
    /// Client and server could not agree on how to encrypt.
    #[error("no encrypted connection to the database server at {target}: {reason}")]
    Tls { target: String, reason: Reason },
    /// The server is not of the kind that `target_session_attrs` requires: wait for a fail-over, or name the
    /// other servers too.
    #[error("the database server at {target} is not {wanted} (target_session_attrs)")]
    OtherRole {
        target: String,
        wanted: &'static str,
    },
    /// None of the URL's servers is usable; their errors are in the order in which they were tried.
    #[error("none of {} database servers is usable: {}", .0.len(), each(.0))]
    NoServer(Vec<ConnectError>),
    /// The server is too old, or another product. `version` is what the server reports.
    #[error(
        "the database server at {target} is version {version}; bmdb needs PostgreSQL 14 or newer"
    )]
    UnsupportedServer { target: String, version: String },
    /// The database stores its texts in another encoding than UTF-8: name another database, or move it as the
    /// error says.
    #[error("the database server at {target}: {encoding}")]
    NotUtf8 {
        target: String,
        encoding: bmdb_model::NotUtf8,
    },
    /// No answer in time.
    #[error("no answer from the database server at {target} within {seconds} s")]
    Timeout { target: String, seconds: f64 },
    /// The database's schema is too new for this component, or checking it failed.
    #[error(transparent)]
    Migration(#[from] bmdb_model::migration::MigrationError),
    /// Connecting needs a tokio runtime with I/O and timers: call it inside of one, such as that of
    /// `#[tokio::main]`.
    #[error("no tokio runtime: connect inside of one, such as that of #[tokio::main]")]
    NoRuntime,
    /// The operating system refuses the thread for heartbeats: too many threads or files are in use.
    #[error("cannot start the thread for heartbeats: {0}")]
    NoThread(std::io::Error),
    /// Setting up the new connection failed.
    #[error("setting up the connection to {target} failed: {reason}")]
    SetUp {
        target: String,
        reason: bmdb_model::Error,
    },
}

impl ConnectError {
    /// Whether the server itself says that it may take the connection later: it starts or shuts down, has no
    /// connection free, or is not promoted yet. A server that does not answer may be the wrong one.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused { code, .. } => code.starts_with("53") || code.starts_with("57P"),
            Self::OtherRole { .. } => true,
            Self::NoServer(errors) => errors.iter().any(Self::may_pass),
            Self::SetUp { reason, .. } => reason.kind().may_pass(),
            Self::Migration(bmdb_model::migration::MigrationError::Database(error)) => {
                ErrorKind::from(error).may_pass()
            }
            _ => false,
        }
    }
}

fn each(errors: &[ConnectError]) -> String {
    let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
    reasons.join("; ")
}

/// An error's text with those of its sources, each of them once: many errors end with their source's text.
pub(crate) fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}

/// Why a transaction, or any other operation of a session, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// The session has expired or was closed: start a new one. Nothing was committed.
    #[error("the session has expired: start a new one")]
    SessionExpired,
    /// The session no longer holds this work. Nothing was committed.
    #[error("the work is lost: the session no longer holds it")]
    WorkLost,
    /// The connection broke during the commit, so the outcome is unknown: before you repeat the operation,
    /// check whether its changes are there.
    #[error("the connection broke during the commit, so its outcome is unknown: {0}")]
    CommitUnknown(bmdb_model::Error),
    /// No connection was available. Nothing was committed.
    #[error("no connection to the database: {}", with_sources(&**.0))]
    Unavailable(Box<dyn Error + Send + Sync>),
    /// The database or the model refused something. Nothing was committed.
    #[error(transparent)]
    Database(#[from] bmdb_model::Error),
    /// The session's last heartbeat failed or is overdue, so it must not claim: wait with
    /// [`Session::wait_while_suspect`](crate::Session::wait_while_suspect), which resolves at the next
    /// successful heartbeat. Claimed work may continue and end.
    #[error(
        "the session is suspect because its last heartbeat was not answered: wait until it is live \
         or lost"
    )]
    Suspect,
    /// This component is draining and refuses new work.
    #[error("draining: this component accepts no new work")]
    Draining,
    /// The runtime in which the [`Bmdb`](crate::Bmdb) or [`Reader`](crate::Reader) was made has ended, and with
    /// it heartbeats and connections: make one in each runtime. Nothing was committed. Its sessions are lost:
    /// they expire, and a janitor frees their work.
    #[error("the runtime in which this Bmdb was made has ended: make a Bmdb in each runtime")]
    RuntimeEnded,
    /// The call was made outside of any tokio runtime. Nothing was committed.
    #[error("no tokio runtime: call this inside of the one in which the Bmdb was made")]
    NoRuntime,
    /// A field has an unusable value.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// The caller's closure ended the transaction itself, by SQL such as `COMMIT` or `ROLLBACK; BEGIN`. What it
    /// wrote before a `COMMIT` is committed; what it wrote later stood outside of the
    /// transaction, and is rolled back where that is possible. Work that was to end in the transaction is given
    /// back if it is still claimed. Correct the closure: for a part that may fail, use a savepoint, as
    /// `transaction` of the connection does.
    #[error(
        "the closure ended its transaction by itself ({statement}): leave BEGIN, COMMIT and ROLLBACK to bmdb, \
         and use a savepoint for a part that may fail; what it wrote before a COMMIT is committed{}",
        after(.error.as_deref())
    )]
    ClosureEndedTransaction {
        /// The first words of the statement that ended it.
        statement: String,
        /// The closure's own error, if it returned one.
        error: Option<Box<TxError>>,
    },
    /// The caller's closure gave up ([`TxError::abort`]). Nothing was committed.
    #[error("the transaction was aborted by its closure: {}", with_sources(&**.0))]
    Aborted(Box<dyn Error + Send + Sync>),
}

fn after(error: Option<&TxError>) -> String {
    error.map_or_else(String::new, |error| format!("; then it failed: {error}"))
}

impl TxError {
    /// Aborts a transaction for a reason of the caller's own, which can be downcast from
    /// [`TxError::Aborted`].
    #[must_use]
    pub fn abort(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Aborted(reason.into())
    }

    /// The kind of database error; `None` if the database is not the reason.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Database(error) | Self::CommitUnknown(error) => Some(error.kind()),
            _ => None,
        }
    }
}

impl TxError {
    /// Whether waiting may help: the database cannot be reached, or does not answer now
    /// ([`ErrorKind::may_pass`]). Callers without a deadline try again later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self.kind() {
            Some(kind) => kind.may_pass(),
            None => matches!(self, Self::Unavailable(_)),
        }
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
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub enum WorkError {
    /// The retrieval returned no machine.
    #[error("nothing to do")]
    NothingToDo,
    /// A process of the same lane is at work on the machine: try another one, or later.
    #[error("machine {machine} is claimed by a process of the same lane")]
    Conflict { machine: MachineId },
    /// The process is backing off on the machine: wait.
    #[error("machine {machine} is backing off until {until}")]
    BackedOff {
        machine: MachineId,
        until: DateTime<Utc>,
    },
    /// The machine is on hold: an operator has to release it.
    #[error("machine {machine} is on hold")]
    OnHold { machine: MachineId },
    /// Only this process is on hold on the machine: an operator has to release it.
    #[error("{process} is on hold on machine {machine}: {reason}")]
    ProcessOnHold {
        machine: MachineId,
        process: Process,
        reason: String,
    },
    /// The process is paused, everywhere or on the machines of this one's provider: wait, or resume it.
    #[error("{process} is paused on machine {machine} by {by}{}: {reason}", until_text(*until))]
    Paused {
        machine: MachineId,
        process: Process,
        /// Who has paused it; `breaker` for its breaker.
        by: String,
        reason: String,
        /// When the pause ends by itself; `None` if a person has to resume the process.
        until: Option<DateTime<Utc>>,
    },
    /// As much of the process runs, or has started within the window, as its limit allows: wait.
    #[error("{process} is limited on machine {machine}{}", opens_text(*opens_at))]
    Limited {
        machine: MachineId,
        process: Process,
        /// When the next start is allowed, if that is known: not while too many machines are claimed.
        opens_at: Option<DateTime<Utc>>,
    },
    /// The session has expired or was closed: start a new one.
    #[error("the session has expired: start a new one")]
    SessionExpired,
    /// The session's last heartbeat failed or is overdue: wait, see [`TxError::Suspect`].
    #[error("{}", TxError::Suspect)]
    Suspect,
    /// The connection broke during the commit. A machine that was claimed is released in the background:
    /// ask again.
    #[error("the connection broke during the commit, so its outcome is unknown: {0}")]
    CommitUnknown(bmdb_model::Error),
    /// The database or the model refused something.
    #[error(transparent)]
    Database(bmdb_model::Error),
    /// Any other error of a transaction.
    #[error(transparent)]
    Transaction(TxError),
}

fn until_text(until: Option<DateTime<Utc>>) -> String {
    until.map_or_else(
        || " until it is resumed".to_owned(),
        |until| format!(" until {until}"),
    )
}

fn opens_text(opens_at: Option<DateTime<Utc>>) -> String {
    opens_at.map_or_else(
        || ": as many machines are claimed as its limit allows".to_owned(),
        |opens_at| format!(": its limit allows the next start at {opens_at}"),
    )
}

impl From<TxError> for WorkError {
    fn from(error: TxError) -> Self {
        match error {
            TxError::SessionExpired => Self::SessionExpired,
            TxError::Suspect => Self::Suspect,
            TxError::CommitUnknown(reason) => Self::CommitUnknown(reason),
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
    /// The database lacks migrations, or is too new for this component.
    #[error(transparent)]
    Migration(#[from] bmdb_model::migration::MigrationError),
    /// The database refused, or was not reachable.
    #[error(transparent)]
    Transaction(#[from] TxError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the call failed")]
    struct Call(#[source] std::io::Error);

    #[test]
    fn an_error_and_its_sources_never_print_a_text_twice() {
        let call = || Call(std::io::Error::other("connection refused"));
        let lost = || bmdb_model::Error::connection_lost("gone".to_owned());
        for (error, expected) in [
            (
                TxError::abort(call()),
                "the transaction was aborted by its closure: the call failed: connection refused",
            ),
            (
                TxError::Unavailable(call().into()),
                "no connection to the database: the call failed: connection refused",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
            assert!(error.source().is_none(), "{error}");
        }
        for error in [
            TxError::CommitUnknown(lost()),
            TxError::Aborted(TxError::CommitUnknown(lost()).into()),
        ] {
            let text = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                assert!(!text.contains(&error.to_string()), "{text}: {error}");
                source = error.source();
            }
        }
    }
}
