//! The moment of a page: when its facts were read.

use chrono::{DateTime, Utc};
use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// By the database's clock.
    pub(crate) at: DateTime<Utc>,
    /// How long the read took.
    pub(crate) took: Duration,
}
