//! Refused texts: a failure whose cause the database refuses is recorded with a cause that it takes.
//!
//! bmdb escapes what PostgreSQL does not store. This is for what somebody has added to it: a trigger, a
//! constraint, a copy in a database with another encoding.

use crate::work::end_error::EndError;
use crate::work::open_attempt::OpenAttempt;
use bmdb_model::ErrorKind;
use bmdb_model::column::escaped;

/// The attempt and its cause in printable ASCII, if that may be recorded where the cause itself was refused.
/// Otherwise the error.
pub(super) fn in_ascii(error: EndError, cause: &str) -> Result<(OpenAttempt, String), EndError> {
    let ascii = escaped(cause);
    match error {
        EndError {
            reason,
            attempt: Some(open),
        } if reason.kind() == Some(ErrorKind::InvalidValue) && ascii != cause => {
            tracing::warn!(error = %reason, "the cause of a failure is refused, and is recorded in ASCII");
            Ok((*open, ascii))
        }
        error => Err(error),
    }
}
