//! Limits: how many machines a process works on at once, and how many it starts on within a window.

use super::{LONGEST_WINDOW, Per, compact};
use crate::Process;
use crate::text_enum::text_enum;
use chrono::{DateTime, Utc};
use std::fmt;

/// The most that a limit may allow. Above that, it is no limit in practice, and its slots cost more than it
/// protects.
const MOST: i64 = 10_000;

/// How much of a process runs at once, and how much starts within a window.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Limit {
    /// Whether it counts the whole process, or the machines of each provider.
    pub per: Per,
    /// How many machines are claimed at once, at most.
    pub max_running: Option<i64>,
    /// How many attempts start within a window, at most.
    pub max_starts: Option<Starts>,
}

/// So many starts within any window of that length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Starts {
    /// How many.
    pub count: i64,
    /// The length of the window, in seconds.
    pub window_seconds: i64,
}

impl Limit {
    /// A limit that allows everything until it is given a maximum.
    #[must_use]
    pub const fn new(per: Per) -> Self {
        Self {
            per,
            max_running: None,
            max_starts: None,
        }
    }

    /// The same with a maximum of machines that are claimed at once.
    #[must_use]
    pub fn max_running(self, maximum: i64) -> Self {
        Self {
            max_running: Some(maximum),
            ..self
        }
    }

    /// The same with a maximum of starts within any window of `window_seconds`.
    #[must_use]
    pub fn max_starts(self, count: i64, window_seconds: i64) -> Self {
        Self {
            max_starts: Some(Starts {
                count,
                window_seconds,
            }),
            ..self
        }
    }

    /// What is wrong with it, and what is expected, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.max_running.is_none() && self.max_starts.is_none() {
            return Some(
                "a limit needs a maximum: give the number of machines at once, the number of starts within \
                 a window, or both; or remove the limit"
                    .to_owned(),
            );
        }
        let count = |what, number| {
            (!(1..=MOST).contains(&number)).then(|| {
                format!(
                    "{what} must be between 1 and {MOST}, and not {number}; to stop a process, pause it, and \
                     to allow any number, remove the limit"
                )
            })
        };
        self.max_running
            .and_then(|number| count("the maximum of running machines", number))
            .or_else(|| {
                let starts = self.max_starts?;
                count("the maximum of starts", starts.count)
                    .or_else(|| window_problem("the window of starts", starts.window_seconds))
            })
    }
}

/// `5 running, 10 starts/10m`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.max_running.map(|maximum| format!("{maximum} running"));
        let starts = self.max_starts.map(|starts| {
            let window = compact(starts.window_seconds);
            format!("{} starts/{window}", starts.count)
        });
        let parts: Vec<String> = running.into_iter().chain(starts).collect();
        f.pad(&parts.join(", "))
    }
}

/// What is wrong with the length of a window, if anything.
pub(super) fn window_problem(what: &str, seconds: i64) -> Option<String> {
    (!(1..=LONGEST_WINDOW).contains(&seconds)).then(|| {
        format!(
            "{what} must be between 1 second and 31 days ({LONGEST_WINDOW} s), and not {seconds} s"
        )
    })
}

text_enum! {
    /// What a slot allows.
    #[non_exhaustive]
    SlotKind {
        /// One machine that is claimed.
        Running,
        /// One start within the window.
        Start,
    }
}

/// A limit, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct LimitState {
    pub process: Process,
    pub limit: Limit,
    /// The whole process, or one entry for each provider, by name.
    pub partitions: Vec<PartitionUse>,
}

/// How much of a limit one partition uses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PartitionUse {
    /// The provider's name. Empty for the whole process, and for machines without a provider.
    pub name: String,
    /// Machines that are claimed; `None` if the limit does not count them.
    pub running: Option<SlotUse>,
    /// Starts within the window; `None` if the limit does not count them.
    pub starts: Option<SlotUse>,
}

/// How many of a partition's slots are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SlotUse {
    /// How many are taken. More than the maximum after that was lowered.
    pub taken: i64,
    /// How many there are.
    pub maximum: i64,
    /// When the next one becomes free, if none is and that is known: not for running machines.
    pub opens_at: Option<DateTime<Utc>>,
}

impl SlotUse {
    /// Whether nothing more may start.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.taken >= self.maximum
    }
}

impl fmt::Display for SlotUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.taken, self.maximum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_in_short() {
        let limit = Limit::new(Per::Process).max_running(5).max_starts(10, 600);
        assert_eq!(limit.to_string(), "5 running, 10 starts/10m");
        let odd = Limit::new(Per::Process).max_starts(1, 90);
        assert_eq!(odd.to_string(), "1 starts/90s");
    }

    #[test]
    fn a_limit_that_cannot_be_is_refused_with_what_is_expected() {
        let limit = || Limit::new(Per::Provider);
        assert_eq!(limit().max_running(1).problem(), None);
        assert_eq!(limit().max_starts(10_000, LONGEST_WINDOW).problem(), None);
        for (wrong, words) in [
            (limit(), "needs a maximum"),
            (
                limit().max_running(0),
                "between 1 and 10000, and not 0; to stop",
            ),
            (limit().max_running(-3), "and not -3"),
            (limit().max_running(i64::MAX), "and not 9223372036854775807"),
            (
                limit().max_starts(10_001, 60),
                "the maximum of starts must be",
            ),
            (
                limit().max_starts(1, 0),
                "between 1 second and 31 days (2678400 s), and not 0 s",
            ),
            (limit().max_starts(1, -60), "and not -60 s"),
            (
                limit().max_starts(1, LONGEST_WINDOW + 1),
                "and not 2678401 s",
            ),
        ] {
            let problem = wrong.problem().unwrap();
            assert!(problem.contains(words), "{problem}");
        }
    }
}
