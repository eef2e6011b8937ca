//! Errors of statements, and what they mean for the caller.
//!
//! Only this module interprets the engine's errors: [`kind`] has the table of what each SQLSTATE means.

mod classify;
mod kind;

pub(crate) use classify::{is_a_lock, is_about_another_server};
pub use kind::ErrorKind;

use crate::MachineId;
use crate::internal::sqlstate;
use crate::migration::LockHolder;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// Why a function of this crate failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "variants without a comment explain themselves")]
pub enum Error {
    /// The database refused the statement, or the connection broke. The message contains Diesel's and the
    /// SQLSTATE, so `source()` is empty.
    #[error("database: {}", with_code(.0))]
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
    /// One machine's value among those of many was refused.
    #[error("machine {machine}: {error}")]
    OfMachine {
        machine: MachineId,
        /// Why it was refused.
        error: Box<Error>,
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

impl Error {
    /// What this error means for the caller's next step.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Database(error) => error.into(),
            Self::OfMachine { error, .. } => error.kind(),
            Self::DefinitionBlocked { .. } => ErrorKind::LockTimeout,
            Self::NulByte { .. } | Self::Empty { .. } | Self::TooLong { .. } => {
                ErrorKind::InvalidValue
            }
            _ => ErrorKind::Other,
        }
    }
}

/// Diesel's text with the SQLSTATE, so that no line of a log is without it.
fn with_code(error: &DieselError) -> String {
    match sqlstate::of(error) {
        Some(code) => format!("{error} (SQLSTATE {code})"),
        None => error.to_string(),
    }
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
