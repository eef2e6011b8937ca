//! The terms of a lease: its interval, its beat and its margin, which are judged together.

use crate::error::SessionError;
use std::time::Duration;

/// A session is kept alive by a beat every third of its interval: two may fail.
const BEATS_PER_INTERVAL: u32 = 3;

/// What of the interval the margin is at least: less would be used up by clocks that run at different
/// speeds, and by the time that it takes to be told.
const LEAST_MARGIN: u32 = 100;

/// What of the interval the margin is unless told otherwise.
const USUAL_MARGIN: u32 = 10;

/// The shortest and the longest interval, in seconds.
const INTERVALS: std::ops::RangeInclusive<u64> = 1..=86_400;

/// How long a lease lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// How far every heartbeat moves the deadline: whole seconds, 1 s to 1 day. Default: 5 s.
    ///
    /// A heartbeat is sent every third of it, so that two may fail. That is no setting of its own: a
    /// rarer one would give up the session for a single lost message, and one statement serves all
    /// sessions of a component, as often as the shortest interval among them asks for.
    pub interval: Duration,
    /// How long before the deadline the lease is no longer relied upon: at least a hundredth of the
    /// interval, less than a third of it. Default: a tenth of the interval.
    ///
    /// It is for clocks that run at different speeds, and for the time that it takes to stop acting on
    /// a machine once [`Work::lost`](crate::Work::lost) has resolved.
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

    pub(crate) fn terms(&self) -> Result<Terms, SessionError> {
        let invalid = |problem: String| Err(SessionError::InvalidOptions(problem));
        let interval = self.interval;
        let seconds = interval.as_secs();
        if interval.subsec_nanos() != 0 || !INTERVALS.contains(&seconds) {
            let (shortest, longest) = (INTERVALS.start(), INTERVALS.end());
            return invalid(format!(
                "an interval of {interval:?} is not {shortest} to {longest} whole seconds"
            ));
        }
        let margin = self.margin.unwrap_or(interval / USUAL_MARGIN);
        // The last beat that counts is sent two thirds into the interval, and needs time for its answer.
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
        Ok(Terms { interval, margin })
    }
}

/// Terms that can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    interval: Duration,
    margin: Duration,
}

impl Terms {
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

    /// For how long a heartbeat is relied upon, from its sending on.
    pub(crate) fn trust(&self) -> Duration {
        self.interval - self.margin
    }

    /// After this time without a new confirmation something is wrong: the next heartbeat was due after
    /// one beat, and its answer after another.
    pub(crate) fn suspicion(&self) -> Duration {
        self.beat() * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_that_cannot_be_kept_are_refused() {
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
    fn what_can_be_asked_for_leaves_time_for_the_answer_to_a_third_beat() {
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
            assert!(terms.beat() * 2 < terms.trust(), "{options:?}");
            assert!(terms.suspicion() < terms.trust(), "{options:?}");
            assert!(terms.trust() < terms.interval(), "{options:?}");
        }
    }
}
