//! Pauses: nothing of a process starts, on any machine or on those of one provider.

use crate::text_enum::text_enum;
use crate::{Process, Provider};
use chrono::{DateTime, Utc};
use diesel::prelude::*;

text_enum! {
    /// What has paused a process.
    #[non_exhaustive]
    PauseSource {
        /// A person.
        Operator,
        /// The process's breaker.
        Breaker,
        /// An attempt that asked for it.
        Attempt,
    }
}

/// A pause that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Pause {
    pub process: Process,
    /// Whose machines; `None` is all.
    pub provider: Option<Provider>,
    pub since: DateTime<Utc>,
    /// When it ends by itself; `None` if a person has to resume the process.
    pub until: Option<DateTime<Utc>>,
    pub source: PauseSource,
    pub paused_by: String,
    pub reason: String,
    /// Whether attempts that run are to stop, too, and give their machines back.
    pub stop_running: bool,
}
