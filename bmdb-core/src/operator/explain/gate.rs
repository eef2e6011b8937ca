//! The explanation of one gate.

use chrono::{DateTime, Utc};

/// Explains one gate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gate {
    /// Whether it is open.
    pub is_open: bool,
    /// When it was opened or closed, if known.
    pub since: Option<DateTime<Utc>>,
    /// When it opens by itself, if it does; if a session that has died holds the machine, the latest time.
    pub opens_at: Option<DateTime<Utc>>,
    /// Why it is open, or why it is closed and when it opens. At least one sentence.
    pub sentences: Vec<String>,
}
