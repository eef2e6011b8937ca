//! Classifier: from a server's error to its kind, by SQLSTATE.
//!
//! Errors of connections that `bmdb-core` did not make have no code ([`sqlstate`]); for those, English texts
//! of a few errors are compared.

use super::{Error, ErrorKind};
use crate::internal::sqlstate::{self, SqlState};
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};

/// The constraint that keeps two processes of a lane from one machine.
const LANE: &str = "work_item_lane";

const STATEMENT_TIMEOUT: &str = "canceling statement due to statement timeout";
const USER_REQUEST: &str = "canceling statement due to user request";

impl From<&DieselError> for ErrorKind {
    fn from(error: &DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, info) => of_report(kind, info.as_ref()),
            DieselError::RollbackErrorOnCommit { commit_error, .. } => (&**commit_error).into(),
            DieselError::BrokenTransactionManager => Self::ConnectionLost,
            // A value that has no form on the other side, such as a time that is infinite.
            DieselError::SerializationError(_) | DieselError::DeserializationError(_) => {
                Self::InvalidValue
            }
            _ => Self::Other,
        }
    }
}

fn of_report(
    kind: &DatabaseErrorKind,
    info: &(dyn DatabaseErrorInformation + Send + Sync),
) -> ErrorKind {
    use DatabaseErrorKind::{ClosedConnection, UnableToSendCommand, UniqueViolation};
    let message = info.message();
    match kind {
        UnableToSendCommand | ClosedConnection => ErrorKind::ConnectionLost,
        UniqueViolation if info.constraint_name() == Some(LANE) => ErrorKind::LaneTaken,
        // Whatever it was about, the connection is gone: a commit may have taken effect.
        _ if sqlstate::is_fatal(message) => ErrorKind::ConnectionLost,
        kind => sqlstate::code_of(kind, message)
            .or_else(|| of_english(message))
            .map_or(ErrorKind::Other, |code| of_code(code, message)),
    }
}

/// The kind of an error with this code. Only one code needs the text as well.
fn of_code(code: SqlState, message: &str) -> ErrorKind {
    match code.as_str() {
        // These are about another server, that a view reads, because this one has reported them.
        "08001" | "08003" | "08004" => ErrorKind::NotReady,
        "40P01" => ErrorKind::Deadlock,
        // Statement completion unknown.
        "40003" => ErrorKind::ConnectionLost,
        "25006" => ErrorKind::ReadOnly,
        "25P02" => ErrorKind::Aborted,
        // Timeouts of idle and of long transactions.
        "25P03" | "25P04" => ErrorKind::ConnectionLost,
        "42501" => ErrorKind::Denied,
        "42P05" => ErrorKind::StalePlan,
        "55P03" => ErrorKind::LockTimeout,
        "55000" | "55006" | "57000" => ErrorKind::NotReady,
        "57014" if message == USER_REQUEST => ErrorKind::Canceled,
        "57014" => ErrorKind::StatementTimeout,
        _ => match code.class() {
            "08" | "57" => ErrorKind::ConnectionLost,
            "0A" | "26" => ErrorKind::StalePlan,
            "22" | "54" => ErrorKind::InvalidValue,
            "28" | "0P" => ErrorKind::Denied,
            "40" => ErrorKind::Serialization,
            "3F" | "42" => ErrorKind::SchemaMismatch,
            "53" | "58" => ErrorKind::OutOfResources,
            "XX" => ErrorKind::Internal,
            _ => ErrorKind::Other,
        },
    }
}

/// The code that an English message has, for connections whose codes are not seen.
fn of_english(message: &str) -> Option<SqlState> {
    let starts_with = |beginnings: &[&str]| beginnings.iter().any(|b| message.starts_with(b));
    let code = match message {
        "deadlock detected" => b"40P01",
        "canceling statement due to lock timeout" => b"55P03",
        STATEMENT_TIMEOUT | USER_REQUEST => b"57014",
        "cached plan must not change result type" => b"0A000",
        _ if starts_with(&["terminating connection"]) => b"57P01",
        _ if starts_with(&["current transaction is aborted"]) => b"25P02",
        _ if starts_with(&[
            "permission denied",
            "must be owner of",
            "must have admin option",
        ]) =>
        {
            b"42501"
        }
        _ => return None,
    };
    Some(SqlState::new(*code))
}

/// Whether an error means that a lock was not got, judged by its text: Diesel's migrations expose nothing
/// else. The victim of a deadlock waited for a lock as well.
pub(crate) fn is_a_lock(text: &str) -> bool {
    matches!(
        kind_of_text(text),
        ErrorKind::LockTimeout | ErrorKind::Deadlock
    )
}

/// The kind of an error of which only a text is left that ends with the server's message.
pub(crate) fn kind_of_text(text: &str) -> ErrorKind {
    let english = || {
        let ends = text
            .match_indices(": ")
            .map(|(at, colon)| &text[at + colon.len()..]);
        std::iter::once(text).chain(ends).find_map(of_english)
    };
    sqlstate::of_text(text)
        .or_else(english)
        .map_or(ErrorKind::Other, |code| of_code(code, text))
}

/// Whether a server that a view reads, or a limit that it exceeds, is the reason, and not the server that
/// ran the statement.
pub(crate) fn is_about_another_server(error: &Error) -> bool {
    let Error::Database(error) = error else {
        return false;
    };
    // A foreign server; too much memory or temporary disk for one statement.
    sqlstate::of(error).is_some_and(|code| {
        code.class() == "HV"
            || matches!(
                code.as_str(),
                "08001" | "08003" | "08004" | "53200" | "53400"
            )
    })
}

#[cfg(test)]
mod tests;
