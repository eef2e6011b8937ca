//! Session options: the interval and margin of the lease, which are validated together.

use crate::error::SessionError;
use std::time::Duration;

/// A heartbeat is sent every third of the interval, so two may fail.
const BEATS_PER_INTERVAL: u32 = 3;

/// The margin is at least this fraction of the interval: clocks that run at different speeds, and the time
/// until the users of a session notice its loss, would use up less.
const LEAST_MARGIN: u32 = 100;

/// The default margin, as a fraction of the interval.
const DEFAULT_MARGIN: u32 = 10;

/// The shortest and the longest interval, in seconds.
const INTERVALS: std::ops::RangeInclusive<u64> = 1..=86_400;

/// How long a lease lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// How far every heartbeat moves the deadline: whole seconds, 1 s to 1 day. Default: 5 s.
    ///
    /// A heartbeat is sent every third of the interval, so that two may fail. That rate is not
    /// configurable: with rarer heartbeats, one lost message would lose the session. One statement serves
    /// all sessions of a component, at the rate of the shortest interval among them.
    pub interval: Duration,
    /// How long before the deadline this program takes the lease for lost: at least a hundredth of the
    /// interval, less than a third of it. Default: a tenth of the interval.
    ///
    /// The margin covers clocks that run at different speeds (this program counts its own, which also goes on
    /// while the computer is suspended, and never reads the time of day), and the time to stop acting on a machine
    /// after [`Work::lost`](crate::Work::lost) has resolved.
    pub margin: Option<Duration>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            margin: None,
        }
    }
}

impl SessionOptions {
    /// The same with another interval.
    #[must_use]
    pub const fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// The same with another margin.
    #[must_use]
    pub const fn margin(self, margin: Duration) -> Self {
        Self {
            margin: Some(margin),
            ..self
        }
    }

    pub(crate) fn terms(&self) -> Result<SessionTerms, SessionError> {
        let invalid = |problem: String| Err(SessionError::InvalidOptions(problem));
        let interval = self.interval;
        let seconds = interval.as_secs();
        if interval.subsec_nanos() != 0 || !INTERVALS.contains(&seconds) {
            let (shortest, longest) = (INTERVALS.start(), INTERVALS.end());
            return invalid(format!(
                "an interval of {interval:?} is not {shortest} to {longest} whole seconds"
            ));
        }
        let margin = self.margin.unwrap_or(interval / DEFAULT_MARGIN);
        // The last heartbeat that counts is sent two thirds into the interval, and its answer needs time.
        if margin >= interval / BEATS_PER_INTERVAL {
            return invalid(format!(
                "a margin of {margin:?} is not less than a third of the interval of {interval:?}"
            ));
        }
        if margin < interval / LEAST_MARGIN {
            return invalid(format!(
                "a margin of {margin:?} is less than a hundredth of the interval of {interval:?}"
            ));
        }
        Ok(SessionTerms { interval, margin })
    }
}

/// Validated options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionTerms {
    interval: Duration,
    margin: Duration,
}

impl SessionTerms {
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    pub(crate) fn interval_seconds(&self) -> i64 {
        i64::try_from(self.interval.as_secs()).unwrap_or(i64::MAX)
    }

    /// How often a heartbeat is sent.
    pub(crate) fn beat(&self) -> Duration {
        self.interval / BEATS_PER_INTERVAL
    }

    /// How long the lease is valid after the sending of a heartbeat.
    pub(crate) fn validity(&self) -> Duration {
        self.interval - self.margin
    }

    /// How long after the sending of a heartbeat the session is suspect: the next heartbeat was due after
    /// one period, and its answer after another.
    pub(crate) fn suspect_after(&self) -> Duration {
        self.beat() * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_options_are_refused() {
        let (millis, options) = (Duration::from_millis, SessionOptions::default());
        let second = millis(1000);
        for (invalid, refusal) in [
            (
                options.interval(millis(0)),
                "an interval of 0ns is not 1 to 86400 whole seconds",
            ),
            (
                options.interval(millis(500)),
                "an interval of 500ms is not 1 to 86400 whole seconds",
            ),
            (
                options.interval(millis(1500)),
                "an interval of 1.5s is not 1 to 86400 whole seconds",
            ),
            (
                options.interval(86_401 * second),
                "an interval of 86401s is not 1 to 86400 whole seconds",
            ),
            (
                options.interval(3 * second).margin(second),
                "a margin of 1s is not less than a third of the interval of 3s",
            ),
            (
                options.margin(millis(0)),
                "a margin of 0ns is less than a hundredth of the interval of 5s",
            ),
        ] {
            let refused = invalid.terms().unwrap_err();
            assert_eq!(refused.to_string(), format!("session options: {refusal}"));
        }
    }

    #[test]
    fn accepted_options_leave_time_for_the_answer_to_a_third_heartbeat() {
        let second = Duration::from_secs(1);
        let options = SessionOptions::default();
        for options in [
            options,
            options.interval(second),
            options.interval(86_400 * second),
            options.margin(Duration::from_millis(50)),
            options.margin(Duration::from_millis(1666)),
        ] {
            let terms = options.terms().unwrap();
            assert!(terms.beat() * 2 < terms.validity(), "{options:?}");
            assert!(terms.suspect_after() < terms.validity(), "{options:?}");
            assert!(terms.validity() < terms.interval(), "{options:?}");
        }
    }
}
