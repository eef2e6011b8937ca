//! Loop options: how a control loop runs.

use crate::session::options::SessionOptions;
use crate::work::poll_options::PollOptions;
use crate::work::rate_limiter::Rate;
use std::time::Duration;

/// How a [`Runner`](super::Runner) runs its loop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoopOptions {
    /// How many machines are processed at the same time; at least 1. Default: 8.
    pub parallelism: u32,
    /// The most machines that one claim takes; at least 1. Default: 100.
    pub batch: u32,
    /// How often the loop may claim, including polls while it waits; with several providers, each claim
    /// counts. Default: 10 a second, 20 in a burst. `None`: as often as slots become free.
    pub rate: Option<Rate>,
    /// How long processing one machine may take before the attempt fails. Default: no limit. A future that
    /// blocks its thread is noticed only when it returns to the runtime: if it is done by then, it counts.
    pub timeout: Option<Duration>,
    /// How long after [`Machine::stop`](super::Machine::stop) the future is dropped. Default: 2 s.
    ///
    /// After the lease is lost, others cannot claim the machine for the margin of the lease and the delay
    /// after a loss, at least 15 s by default: stay well below that.
    pub grace: Duration,
    /// How long attempts may continue after a shutdown is requested. Default: 30 s.
    pub drain_limit: Duration,
    /// How long a machine rests after a canceled attempt, and up to a tenth longer. The database keeps it: the
    /// machine is given back at once. Not when the loop shuts down. Default: 10 s.
    pub cancel_pause: Duration,
    /// How the loop polls while nothing is due.
    pub poll: PollOptions,
    /// The lease under which the loop works.
    pub session: SessionOptions,
    /// Whether the loop ends by itself, after it has processed what is due, each machine once. Default:
    /// no.
    pub once: bool,
}

impl Default for LoopOptions {
    fn default() -> Self {
        Self {
            parallelism: 8,
            batch: 100,
            rate: Some(Rate::default()),
            timeout: None,
            grace: Duration::from_secs(2),
            drain_limit: Duration::from_secs(30),
            cancel_pause: Duration::from_secs(10),
            poll: PollOptions::default(),
            session: SessionOptions::default(),
            once: false,
        }
    }
}

impl LoopOptions {
    /// The same with another [`parallelism`](Self::parallelism).
    #[must_use]
    pub fn parallelism(self, machines: u32) -> Self {
        Self {
            parallelism: machines,
            ..self
        }
    }

    /// The same with another [`batch`](Self::batch).
    #[must_use]
    pub fn batch(self, machines: u32) -> Self {
        Self {
            batch: machines,
            ..self
        }
    }

    /// The same with another [`rate`](Self::rate), or without a limit.
    #[must_use]
    pub fn rate(self, rate: Option<Rate>) -> Self {
        Self { rate, ..self }
    }

    /// The same with another [`timeout`](Self::timeout), or without.
    #[must_use]
    pub fn timeout(self, timeout: Option<Duration>) -> Self {
        Self { timeout, ..self }
    }

    /// The same with another [`grace`](Self::grace).
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// The same with another [`drain_limit`](Self::drain_limit).
    #[must_use]
    pub fn drain_limit(self, limit: Duration) -> Self {
        Self {
            drain_limit: limit,
            ..self
        }
    }

    /// The same with another [`cancel_pause`](Self::cancel_pause).
    #[must_use]
    pub fn cancel_pause(self, pause: Duration) -> Self {
        Self {
            cancel_pause: pause,
            ..self
        }
    }

    /// The same with other [`PollOptions`].
    #[must_use]
    pub fn poll(self, poll: PollOptions) -> Self {
        Self { poll, ..self }
    }

    /// The same with other [`SessionOptions`].
    #[must_use]
    pub fn session(self, session: SessionOptions) -> Self {
        Self { session, ..self }
    }

    /// The same with another [`once`](Self::once).
    #[must_use]
    pub fn once(self, once: bool) -> Self {
        Self { once, ..self }
    }
}
