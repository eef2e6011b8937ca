//! End error: why an end failed. Also the result of a recorded failure.

use crate::error::TxError;
use crate::work::open_attempt::OpenAttempt;
use bmdb_backoff::Seconds;
use chrono::{DateTime, Utc};

/// Why an end failed, and the work itself if it is still claimed: retry, fail or cancel it.
#[derive(Debug)]
pub struct EndError {
    pub(super) reason: TxError,
    pub(super) attempt: Option<Box<OpenAttempt>>,
}

impl EndError {
    /// The error of the last try.
    #[must_use]
    pub fn reason(&self) -> &TxError {
        &self.reason
    }
}

impl std::fmt::Display for EndError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for EndError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

/// A failure as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureRecorded {
    /// The un-jittered interval, from which the next one is computed.
    pub interval: Seconds,
    /// When the machine may be worked on again, by the database's clock.
    pub until: DateTime<Utc>,
}
