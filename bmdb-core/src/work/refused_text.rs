//! Refused texts: a failure whose cause the database refuses is recorded with a cause that it takes.
//!
//! bmdb escapes what PostgreSQL does not store. This is for what somebody has added to it: a trigger, a
//! constraint, a copy in a database with another encoding.

use crate::work::end_error::EndError;
use crate::work::open_attempt::OpenAttempt;
use bmdb_model::ErrorKind;
use bmdb_model::column::escaped;

/// The result of an end, or of ending the attempt `again` with its cause in printable ASCII, if that may be recorded
/// where the cause itself was refused.
pub(super) async fn or_in_ascii<T, F>(
    ended: Result<T, EndError>,
    cause: &str,
    again: impl FnOnce(OpenAttempt, String) -> F,
) -> Result<T, EndError>
where
    F: Future<Output = Result<T, EndError>>,
{
    match ended {
        Err(EndError {
            reason,
            attempt: Some(open),
        }) if reason.kind() == Some(ErrorKind::InvalidValue) && escaped(cause) != cause => {
            tracing::warn!(error = %reason, "the cause of a failure is refused, and is recorded in ASCII");
            again(*open, escaped(cause)).await
        }
        ended => ended,
    }
}
