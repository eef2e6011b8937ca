//! Which machines of a process are paused, and for how long.

use bmdb_model::Provider;
use bmdb_model::internal::process_control::PauseEnd;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// Which machines of a process are paused, for how long, and whether attempts that run are to stop. Default:
/// all machines, until a person resumes the process; what runs goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseOptions {
    pub(super) provider: Option<Provider>,
    pub(super) end: PauseEnd,
    pub(super) stop_running: bool,
}

impl Default for PauseOptions {
    fn default() -> Self {
        Self {
            provider: None,
            end: PauseEnd::Resumed,
            stop_running: false,
        }
    }
}

impl PauseOptions {
    /// The same for the machines of one provider.
    #[must_use]
    pub fn provider(self, provider: Provider) -> Self {
        Self {
            provider: Some(provider),
            ..self
        }
    }

    /// The same for this long, by the database's clock: between a millisecond and 366 days.
    #[must_use]
    pub fn lasting(self, time: Duration) -> Self {
        Self {
            end: PauseEnd::After(time),
            ..self
        }
    }

    /// The same until a time in the future.
    #[must_use]
    pub fn until(self, time: DateTime<Utc>) -> Self {
        Self {
            end: PauseEnd::At(time),
            ..self
        }
    }

    /// The same, and runners stop their attempts and give the machines back: see
    /// [`Operator::pause`](super::Operator::pause).
    #[must_use]
    pub fn stop_running(self, stop: bool) -> Self {
        Self {
            stop_running: stop,
            ..self
        }
    }
}
