//! Errors of statements, and what they mean for the caller.
//!
//! Only this file reads the engine's error messages: diesel-async does not expose SQLSTATEs, only a
//! kind for a few of them and the text, which may be translated.

use crate::MachineId;
use crate::migration::LockHolder;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// Why a function of this crate failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "variants without a comment explain themselves")]
pub enum Error {
    /// The database refused the statement, or the connection broke. The message contains Diesel's, so
    /// `source()` is empty.
    #[error("database: {0}")]
    Database(DieselError),
    /// PostgreSQL cannot store this text.
    #[error("{field} contains a NUL byte (at byte {offset}), which PostgreSQL cannot store")]
    NulByte {
        /// The field that contains the byte.
        field: &'static str,
        /// The byte's offset in the text.
        offset: usize,
    },
    /// A required text is empty.
    #[error("{field} must not be empty")]
    Empty {
        /// The empty field.
        field: &'static str,
    },
    /// The value is longer than its column takes ([`Column`](crate::column::Column)): shorten it, or store it
    /// elsewhere and a reference to it here.
    #[error("{field} has {length} bytes, and at most {limit} are stored: shorten it")]
    TooLong {
        /// The field with the value.
        field: &'static str,
        /// The length of the value, in bytes.
        length: usize,
        /// The longest value, in bytes.
        limit: usize,
    },
    /// No machine has this id.
    #[error("there is no machine {0}")]
    NoSuchMachine(MachineId),
    /// Another machine has this provider id.
    #[error("provider id {provider_id:?} of {provider} belongs to another machine already")]
    ProviderIdTaken {
        provider: crate::Provider,
        /// The provider's id for the machine.
        provider_id: String,
    },
    /// The machine exists already.
    #[error("machine {0} exists already")]
    MachineExists(MachineId),
    /// A machine with claimed work cannot be deleted.
    #[error("machine {0} has work in progress: wait for it to end, or release it first")]
    MachineHasWork(MachineId),
    /// A process definition that cannot work.
    #[error("process {process}: {problem}")]
    InvalidDefinition {
        process: crate::Process,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A limit, breaker or pause that cannot be.
    #[error("process {process}: {problem}")]
    InvalidControl {
        process: crate::Process,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// Nothing is known of a process with this name: it is not defined, and no machine has an item of it.
    #[error("there is no process {process}{}", known_names(known))]
    NoSuchProcess {
        process: crate::Process,
        /// The processes that there are.
        known: Vec<crate::Process>,
    },
    /// Other transactions kept a definition from being changed; nothing was changed.
    #[error(
        "process {process}: its definition could not be changed within {waited:?}, because other \
         transactions kept the work items locked{}: wait for them or end them, and try again",
        listed(holders)
    )]
    DefinitionBlocked {
        process: crate::Process,
        /// For how long it was tried.
        waited: std::time::Duration,
        /// The connections that were in the way last, as far as they were found.
        holders: Vec<LockHolder>,
    },
}

fn known_names(known: &[crate::Process]) -> String {
    match known {
        [] => String::new(),
        known => {
            let names: Vec<&str> = known.iter().map(crate::Process::as_str).collect();
            format!(": the processes are {}", names.join(", "))
        }
    }
}

/// `: pid 42 ("agents"), pid 43 ("psql")`, or nothing.
fn listed(holders: &[LockHolder]) -> String {
    let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
    match holders.is_empty() {
        true => String::new(),
        false => format!(": {}", holders.join(", ")),
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        Self::Database(error)
    }
}

impl Error {
    /// The loss of a connection, for several callers that shared it: the error itself can be returned
    /// only once.
    #[must_use]
    pub fn connection_lost(message: String) -> Self {
        let kind = DatabaseErrorKind::UnableToSendCommand;
        Self::Database(DieselError::DatabaseError(kind, Box::new(message)))
    }
}

/// What an error means for the caller's next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The transaction conflicted with a concurrent one (SQLSTATE 40001): run it again.
    Serialization,
    /// The transaction was the victim of a deadlock (40P01): run it again.
    Deadlock,
    /// A concurrent claim got the lane first (23505 on `work_item_lane`).
    LaneTaken,
    /// The connection is lost; it is unknown whether the statement took effect.
    ConnectionLost,
    /// An earlier failed statement has aborted the transaction (25P02).
    Aborted,
    /// The database user lacks a privilege (42501): components may not do this, or the user is not a
    /// member of `bmdb_component` ([`crate::grants`]).
    Denied,
    /// Another transaction has held a lock that the statement needs for longer than `lock_timeout`
    /// (55P03). The statement changed nothing. Running it again at once would wait as long again: do so
    /// later, or find out who holds the lock (`pg_blocking_pids`).
    LockTimeout,
    /// The statement took longer than `statement_timeout` (57014). It changed nothing, and would take
    /// as long again.
    StatementTimeout,
    /// Somebody canceled the statement (57014 by `pg_cancel_backend`). It changed nothing.
    Canceled,
    /// The database's message is not in English, so its reason is unknown: a retry may help.
    Unclassified,
    /// Anything else: a retry would fail again.
    Other,
}

impl ErrorKind {
    /// Whether running the same transaction again may succeed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Serialization | Self::Deadlock)
    }
}

impl Error {
    /// What this error means for the caller's next step.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Database(error) => error.into(),
            Self::DefinitionBlocked { .. } => ErrorKind::LockTimeout,
            _ => ErrorKind::Other,
        }
    }
}

impl From<&DieselError> for ErrorKind {
    fn from(error: &DieselError) -> Self {
        use DatabaseErrorKind as Kind;
        match error {
            DieselError::DatabaseError(kind, info) => {
                let message = info.message();
                match kind {
                    Kind::SerializationFailure => Self::Serialization,
                    Kind::UniqueViolation if info.constraint_name() == Some("work_item_lane") => {
                        Self::LaneTaken
                    }
                    Kind::UnableToSendCommand | Kind::ClosedConnection => Self::ConnectionLost,
                    Kind::Unknown if message == "deadlock detected" => Self::Deadlock,
                    Kind::Unknown if message.starts_with("terminating connection") => {
                        Self::ConnectionLost
                    }
                    Kind::Unknown if message.starts_with("current transaction is aborted") => {
                        Self::Aborted
                    }
                    Kind::Unknown
                        if message.starts_with("permission denied")
                            || message.starts_with("must be owner of")
                            || message.starts_with("must have admin option") =>
                    {
                        Self::Denied
                    }
                    Kind::Unknown if message == "canceling statement due to lock timeout" => {
                        Self::LockTimeout
                    }
                    Kind::Unknown if message == "canceling statement due to statement timeout" => {
                        Self::StatementTimeout
                    }
                    Kind::Unknown if message == "canceling statement due to user request" => {
                        Self::Canceled
                    }
                    Kind::Unknown => Self::Unclassified,
                    _ => Self::Other,
                }
            }
            DieselError::BrokenTransactionManager => Self::ConnectionLost,
            _ => Self::Other,
        }
    }
}

/// Whether a statement failed because it did not get a lock, judged by its message: Diesel's migrations
/// expose nothing else. The victim of a deadlock waited for a lock as well.
pub(crate) fn lost_for_a_lock(message: &str) -> bool {
    [
        "canceling statement due to lock timeout",
        "deadlock detected",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// Refuses text that PostgreSQL cannot store.
pub(crate) fn storable(field: &'static str, text: &str) -> Result<(), Error> {
    match text.bytes().position(|byte| byte == 0) {
        None => Ok(()),
        Some(offset) => Err(Error::NulByte { field, offset }),
    }
}

/// Like [`storable`]; also refuses empty text.
pub(crate) fn storable_non_empty(field: &'static str, text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Empty { field });
    }
    storable(field, text)
}

pub(crate) fn optional_storable(field: &'static str, text: Option<&str>) -> Result<(), Error> {
    text.map_or(Ok(()), |text| storable(field, text))
}
