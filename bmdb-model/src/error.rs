//! What can go wrong in a statement, and what it means for the caller.
//!
//! This is the one file that reads the engine's error messages: diesel-async does not hand out
//! SQLSTATEs, only a kind for a few of them and the (possibly translated) text.

use crate::MachineId;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// Why a model function failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database refused the statement, or the connection broke.
    #[error("database: {0}")]
    Database(DieselError),
    /// PostgreSQL cannot store this text.
    #[error("{field} contains a NUL byte (at byte {offset}), which PostgreSQL cannot store")]
    NulByte {
        /// The field that holds it.
        field: &'static str,
        /// Its offset in bytes.
        offset: usize,
    },
    /// A text that must not be empty is.
    #[error("{field} must not be empty")]
    Empty {
        /// The field that is empty.
        field: &'static str,
    },
    /// No machine has this id.
    #[error("there is no machine {0}")]
    NoSuchMachine(MachineId),
    /// The provider's id belongs to another machine already.
    #[error("provider id {provider_id:?} of {provider} belongs to another machine already")]
    ProviderIdTaken {
        /// The provider.
        provider: crate::Provider,
        /// Its id for the machine.
        provider_id: String,
    },
    /// The machine exists already.
    #[error("machine {0} exists already")]
    MachineExists(MachineId),
    /// A machine with work in progress cannot be deleted.
    #[error("machine {0} has work in progress: wait for it to end, or release it first")]
    MachineHasWork(MachineId),
    /// A process definition that cannot work.
    #[error("process {process}: {problem}")]
    InvalidDefinition {
        /// The process.
        process: crate::Process,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        Self::Database(error)
    }
}

impl Error {
    /// The loss of a connection that several callers shared, for each of them: the error itself can
    /// be had only once.
    #[must_use]
    pub fn connection_lost(message: String) -> Self {
        let kind = DatabaseErrorKind::UnableToSendCommand;
        Self::Database(DieselError::DatabaseError(kind, Box::new(message)))
    }
}

/// What a database error means for the caller's next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The transaction lost against a concurrent one (SQLSTATE 40001): run it again.
    Serialization,
    /// The transaction was the victim of a deadlock (40P01): run it again.
    Deadlock,
    /// Another claim holds the lane (23505 on `work_item_lane`): somebody else was faster.
    LaneTaken,
    /// The connection is gone; whether the statement took effect is not known.
    ConnectionLost,
    /// The transaction was aborted by an earlier failed statement (25P02).
    Aborted,
    /// The database user lacks a privilege (42501): what is asked for is not a component's to do, or
    /// the user is no member of `bmdb_component` ([`crate::grants`]).
    Denied,
    /// Somebody has held a lock that the statement needs for longer than `lock_timeout` (55P03). It
    /// changed nothing. To run it again at once would be to wait as long again: do so later, or find
    /// out who holds the lock (`pg_blocking_pids`).
    LockTimeout,
    /// The statement took longer than `statement_timeout` (57014). It changed nothing, and would again
    /// take as long.
    StatementTimeout,
    /// The database gave a reason that its message does not tell in English: perhaps worth a retry.
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
                    Kind::Unknown => Self::Unclassified,
                    _ => Self::Other,
                }
            }
            DieselError::BrokenTransactionManager => Self::ConnectionLost,
            _ => Self::Other,
        }
    }
}

/// Whether a statement failed for want of a lock, by its message: Diesel's migrations hand out nothing
/// else. A deadlock's victim waited for one as well.
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

/// As [`storable`], for text that must say something.
pub(crate) fn storable_non_empty(field: &'static str, text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Empty { field });
    }
    storable(field, text)
}

pub(crate) fn optional_storable(field: &'static str, text: Option<&str>) -> Result<(), Error> {
    text.map_or(Ok(()), |text| storable(field, text))
}
