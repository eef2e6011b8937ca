//! Breakers: when so much goes wrong at once that no program should go on by itself.

use super::limit::window_problem;
use super::{Per, compact};
use crate::Process;
use chrono::{DateTime, Utc};
use std::fmt;
use std::str::FromStr;

/// The largest number of machines that a breaker may allow.
const MOST_DUE: i64 = 100_000_000;
/// The largest number of failures that a breaker counts.
const MOST_FAILURES: i64 = 1000;
/// The longest time after which a process resumes by itself, in seconds: 366 days.
const LONGEST_PAUSE: i64 = 366 * 86_400;

/// When a process stops by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Breaker {
    /// Whether it watches the whole process, or the machines of each provider.
    pub per: Per,
    /// It trips when more machines than this need the process at once.
    pub max_due: Option<i64>,
    /// It trips when a larger share of the machines needs the process at once. Given both, the larger number
    /// counts, because a share of a small fleet is less than one machine.
    pub max_due_percent: Option<Percent>,
    /// It trips when so many attempts fail within a window.
    pub max_failures: Option<Failures>,
    /// After how many seconds it resumes by itself; `None` if a person has to resume.
    pub resume_after_seconds: Option<i64>,
}

/// So many failures within a window of that length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Failures {
    /// How many.
    pub count: i64,
    /// The length of the window, in seconds.
    pub window_seconds: i64,
}

impl Breaker {
    /// A breaker that never trips until it is given a threshold.
    #[must_use]
    pub const fn new(per: Per) -> Self {
        Self {
            per,
            max_due: None,
            max_due_percent: None,
            max_failures: None,
            resume_after_seconds: None,
        }
    }

    /// The same, tripping when more than `machines` need the process at once.
    #[must_use]
    pub fn max_due(self, machines: i64) -> Self {
        Self {
            max_due: Some(machines),
            ..self
        }
    }

    /// The same, tripping when more than `percent` of the machines need the process at once.
    #[must_use]
    pub fn max_due_percent(self, percent: Percent) -> Self {
        Self {
            max_due_percent: Some(percent),
            ..self
        }
    }

    /// The same, tripping when `count` attempts fail within `window_seconds`.
    #[must_use]
    pub fn max_failures(self, count: i64, window_seconds: i64) -> Self {
        Self {
            max_failures: Some(Failures {
                count,
                window_seconds,
            }),
            ..self
        }
    }

    /// The same, resuming by itself after `seconds`.
    #[must_use]
    pub fn resume_after(self, seconds: i64) -> Self {
        Self {
            resume_after_seconds: Some(seconds),
            ..self
        }
    }

    /// Whether it counts the machines that need the process, and so has to know the process's workflow.
    #[must_use]
    pub const fn counts_due(&self) -> bool {
        self.max_due.is_some() || self.max_due_percent.is_some()
    }

    /// What is wrong with it, and what is expected, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let range = |what: &str, number: i64, most: i64| {
            (!(1..=most).contains(&number))
                .then(|| format!("{what} must be between 1 and {most}, and not {number}"))
        };
        if !self.counts_due() && self.max_failures.is_none() {
            return Some(
                "a breaker needs a threshold: give the number or the share of machines that need the process \
                 at once, or the number of failures within a window; or remove the breaker"
                    .to_owned(),
            );
        }
        self.max_due
            .and_then(|number| {
                range(
                    "the number of machines that need it at once",
                    number,
                    MOST_DUE,
                )
            })
            .or_else(|| {
                let failures = self.max_failures?;
                range("the number of failures", failures.count, MOST_FAILURES)
                    .or_else(|| window_problem("the window of failures", failures.window_seconds))
            })
            .or_else(|| {
                range(
                    "the number of seconds after which it resumes by itself",
                    self.resume_after_seconds?,
                    LONGEST_PAUSE,
                )
            })
    }
}

/// `5% and 5 due, 20 failures/10m, resumes after 1h`.
impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let due = match (self.max_due_percent, self.max_due) {
            (None, None) => None,
            (Some(share), None) => Some(format!("{share} due")),
            (None, Some(machines)) => Some(format!("{machines} due")),
            (Some(share), Some(machines)) => Some(format!("{share} and {machines} due")),
        };
        let failures = self.max_failures.map(|failures| {
            let window = compact(failures.window_seconds);
            format!("{} failures/{window}", failures.count)
        });
        let resumes = self.resume_after_seconds;
        let resumes = resumes.map(|seconds| format!("resumes after {}", compact(seconds)));
        let parts: Vec<String> = [due, failures, resumes].into_iter().flatten().collect();
        f.pad(&parts.join(", "))
    }
}

/// A share of machines, in percent with up to three decimals: `5%` or `0.25`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent {
    thousandths: i64,
}

/// The text is not a share of machines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid share {0:?}: expected more than 0 and at most 100 percent, with up to three decimals, such as 5% or 0.25%"
)]
pub struct InvalidPercent(String);

impl Percent {
    /// So many thousandths of a percent, between 1 and 100,000.
    ///
    /// # Errors
    /// [`InvalidPercent`].
    pub fn from_thousandths(thousandths: i64) -> Result<Self, InvalidPercent> {
        match thousandths {
            1..=100_000 => Ok(Self { thousandths }),
            _ => Err(InvalidPercent(format!("{thousandths}/1000"))),
        }
    }

    /// The number of thousandths of a percent.
    #[must_use]
    pub const fn thousandths(self) -> i64 {
        self.thousandths
    }
}

impl FromStr for Percent {
    type Err = InvalidPercent;

    fn from_str(text: &str) -> Result<Self, InvalidPercent> {
        let invalid = || InvalidPercent(text.chars().take(64).collect());
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !are_digits(whole) || !are_digits(decimals) || whole.len() > 9 || decimals.len() > 3 {
            return Err(invalid());
        }
        let thousandths = format!("{whole}{decimals:0<3}").parse();
        Self::from_thousandths(thousandths.map_err(|_| invalid())?).map_err(|_| invalid())
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.thousandths / 1000, self.thousandths % 1000);
        let decimals = format!("{decimals:03}");
        match decimals.trim_end_matches('0') {
            "" => f.pad(&format!("{whole}%")),
            decimals => f.pad(&format!("{whole}.{decimals}%")),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Percent {
    /// As a number of percent.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = u32::try_from(self.thousandths).map_err(serde::ser::Error::custom)?;
        serializer.serialize_f64(f64::from(whole) / 1000.0)
    }
}

/// A breaker, and what it has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct BreakerState {
    pub process: Process,
    pub breaker: Breaker,
    /// The whole process, or one entry for each provider, by name.
    pub partitions: Vec<PartitionNeed>,
}

/// What a breaker has seen of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PartitionNeed {
    /// The provider's name. Empty for the whole process, and for machines without a provider.
    pub name: String,
    /// How many machines needed the process at once, at the last count: due, claimed, or started within the
    /// window of a limit. `None` before the first claim, and if the breaker counts failures only.
    pub due: Option<i64>,
    /// Of how many machines.
    pub population: Option<i64>,
    /// More than so many trip the breaker.
    pub threshold: Option<i64>,
    /// When they were counted. Claims count again after at most a minute.
    pub evaluated_at: Option<DateTime<Utc>>,
    /// An operator has resumed the process although too many machines need it. The breaker is armed again
    /// when no more than allowed do.
    pub disarmed: bool,
    /// How many attempts have failed within the window.
    pub failures: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_as_it_is_written() {
        for (text, written) in [
            ("5%", "5%"),
            ("5", "5%"),
            ("0.25%", "0.25%"),
            ("100", "100%"),
            ("0.001", "0.001%"),
            ("12.500%", "12.5%"),
        ] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), written);
        }
        for text in [
            "0",
            "0%",
            "100.001",
            "101%",
            "-5%",
            "+5",
            "",
            "%",
            "5%%",
            "5 %",
            ".5",
            "5.",
            "0.0001",
            "1e1",
            "99999999999999999999",
        ] {
            let refused = text.parse::<Percent>().unwrap_err().to_string();
            assert!(refused.contains("at most 100 percent"), "{refused}");
        }
    }

    #[test]
    fn a_breaker_that_cannot_be_is_refused_with_what_is_expected() {
        let breaker = || Breaker::new(Per::Provider);
        assert_eq!(breaker().max_due(1).max_failures(1000, 1).problem(), None);
        for (wrong, words) in [
            (breaker(), "needs a threshold"),
            (breaker().resume_after(60), "needs a threshold"),
            (breaker().max_due(0), "between 1 and 100000000, and not 0"),
            (
                breaker().max_failures(1001, 60),
                "between 1 and 1000, and not 1001",
            ),
            (breaker().max_failures(-1, 60), "and not -1"),
            (breaker().max_failures(1, 0), "and not 0 s"),
            (
                breaker().max_due(1).resume_after(0),
                "resumes by itself must be",
            ),
        ] {
            let problem = wrong.problem().unwrap();
            assert!(problem.contains(words), "{problem}");
        }
    }
}
