//! How a control loop runs.

use crate::session::options::SessionOptions;
use crate::work::poller::PollOptions;
use crate::work::rate_limiter::Rate;
use std::time::Duration;

/// How a [`Runner`](super::Runner) runs its loop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoopOptions {
    /// How many machines are worked on at once; at least 1. Default: 8.
    pub parallelism: u32,
    /// How many machines one claim takes at most; at least 1. Default: 100.
    pub batch: u32,
    /// How often the database is asked for machines at most, waiting included: one claim for each
    /// provider counts once. Default: 10 a second, 20 in a burst. `None`: as often as slots become free.
    pub rate: Option<Rate>,
    /// How long working on one machine may take, before it has failed. Default: as long as it does.
    pub timeout: Option<Duration>,
    /// How long a future that was told to stop ([`Machine::stop`](super::Machine::stop)) is waited for
    /// before it is dropped. Default: 2 s.
    ///
    /// After a lost lease the machine is left alone by others for the margin of the lease and the delay
    /// after a loss, at least 15 s unless it was configured otherwise: stay well below that.
    pub grace: Duration,
    /// How long works may take to end when the loop is told to leave. Default: 30 s.
    pub drain_limit: Duration,
    /// For how long a machine is kept that an attempt has been canceled on, before it is given back.
    /// Default: 10 s.
    pub cancel_pause: Duration,
    /// How the loop waits while nothing is due.
    pub poll: PollOptions,
    /// The lease under which the loop works.
    pub session: SessionOptions,
    /// Whether to end by itself: works on what is due now, each machine once, until nothing is left.
    /// Default: no.
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
    /// The same, working on this many machines at once.
    #[must_use]
    pub fn parallelism(self, machines: u32) -> Self {
        Self {
            parallelism: machines,
            ..self
        }
    }

    /// The same, claiming this many machines at once.
    #[must_use]
    pub fn batch(self, machines: u32) -> Self {
        Self {
            batch: machines,
            ..self
        }
    }

    /// The same with another rate, or without.
    #[must_use]
    pub fn rate(self, rate: Option<Rate>) -> Self {
        Self { rate, ..self }
    }

    /// The same with another limit for one machine, or without.
    #[must_use]
    pub fn timeout(self, timeout: Option<Duration>) -> Self {
        Self { timeout, ..self }
    }

    /// The same with another grace.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// The same with another limit for draining.
    #[must_use]
    pub fn drain_limit(self, limit: Duration) -> Self {
        Self {
            drain_limit: limit,
            ..self
        }
    }

    /// The same with another pause after a canceled attempt.
    #[must_use]
    pub fn cancel_pause(self, pause: Duration) -> Self {
        Self {
            cancel_pause: pause,
            ..self
        }
    }

    /// The same, waiting otherwise.
    #[must_use]
    pub fn poll(self, poll: PollOptions) -> Self {
        Self { poll, ..self }
    }

    /// The same with another lease.
    #[must_use]
    pub fn session(self, session: SessionOptions) -> Self {
        Self { session, ..self }
    }

    /// The same, ending by itself or not.
    #[must_use]
    pub fn once(self, once: bool) -> Self {
        Self { once, ..self }
    }
}
