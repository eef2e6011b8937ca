//! Journal: an append-only file in which a worker process records its claims and ends, and which
//! outlives the process.
//!
//! Each line is written with one `write(2)`, so a killed process leaves every line that it has written.
//! Lines are machine-readable, except for the time at their start, which is only for people.

use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, Process, SessionId};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

/// The journal of one process.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

/// A line of a journal. Times are microseconds since the epoch by the database's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// A claim was answered.
    Claimed {
        /// Its fence.
        fence: Fence,
        /// The machine.
        machine: MachineId,
        /// The process it was claimed for.
        process: Process,
        /// The session that claimed it.
        session: SessionId,
        /// When it started.
        started: i64,
    },
    /// An end is about to be requested. This line is always written before the request.
    Asked {
        /// The fence of the claim.
        fence: Fence,
        /// The requested outcome.
        outcome: Outcome,
        /// Whether it writes tags.
        tags: Tags,
    },
    /// An end was acknowledged.
    Acknowledged {
        /// The fence of the claim.
        fence: Fence,
        /// The requested outcome.
        outcome: Outcome,
        /// For a failure: the interval in seconds, and when the backoff ends.
        backoff: Option<(u32, i64)>,
    },
    /// An end was refused: the machine was no longer claimed by this worker.
    Refused {
        /// The fence of the claim.
        fence: Fence,
        /// The requested outcome.
        outcome: Outcome,
    },
    /// The request for an end got no answer: the end may be recorded or not.
    Unknown {
        /// The fence of the claim.
        fence: Fence,
        /// The requested outcome.
        outcome: Outcome,
    },
    /// Something failed.
    Failed {
        /// What was attempted, in one word.
        doing: String,
        /// The error.
        error: String,
    },
    /// An event that is only counted.
    Saw(String),
}

/// Whether an end writes tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    /// Tags are committed together with the end, or not at all.
    Written,
    /// Only the end is recorded.
    None,
}

impl Journal {
    /// Creates a journal at this path.
    ///
    /// # Errors
    /// The operating system's, also if the file exists.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create_new(true).open(path)?;
        Ok(Self { file })
    }

    /// Appends a line, in one write.
    ///
    /// # Errors
    /// The operating system's. The process should end then, because the journal would be incomplete.
    pub fn note(&self, entry: &Entry) -> io::Result<()> {
        let line = format!("{} {entry}\n", time_of_day());
        (&self.file).write_all(line.as_bytes())
    }
}

/// The entries of a journal in order. An incomplete last line, of a process that was killed, is ignored.
///
/// # Errors
/// The operating system's; [`io::ErrorKind::InvalidData`] for a line that cannot be parsed.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let text = fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let entry = |line: &str| {
        let entry = line.split_once(' ').map_or("", |(_time, entry)| entry);
        entry
            .parse()
            .map_err(|Unreadable| io::Error::new(io::ErrorKind::InvalidData, format!("{line:?}")))
    };
    whole.lines().map(entry).collect()
}

/// The time by the process's own clock, which may be wrong.
#[allow(
    clippy::disallowed_methods,
    reason = "for people who read a journal; no code reads it"
)]
fn time_of_day() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    let day = since.as_secs() % 86_400;
    let (hour, minute, second) = (day / 3600, day / 60 % 60, day % 60);
    format!(
        "{hour:02}:{minute:02}:{second:02}.{:03}",
        since.subsec_millis()
    )
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claimed {
                fence,
                machine,
                process,
                session,
                started,
            } => write!(f, "claimed {fence} {machine} {process} {session} {started}"),
            Self::Asked {
                fence,
                outcome,
                tags: Tags::Written,
            } => write!(f, "asked {fence} {outcome} tags"),
            Self::Asked { fence, outcome, .. } => write!(f, "asked {fence} {outcome}"),
            Self::Acknowledged {
                fence,
                outcome,
                backoff: Some((interval, until)),
            } => write!(f, "acknowledged {fence} {outcome} {interval} {until}"),
            Self::Acknowledged { fence, outcome, .. } => {
                write!(f, "acknowledged {fence} {outcome}")
            }
            Self::Refused { fence, outcome } => write!(f, "refused {fence} {outcome}"),
            Self::Unknown { fence, outcome } => write!(f, "unknown {fence} {outcome}"),
            Self::Failed { doing, error } => {
                write!(f, "failed {doing} {}", error.replace(['\n', '\r'], " "))
            }
            Self::Saw(what) => write!(f, "saw {what}"),
        }
    }
}

/// The line is not an entry.
#[derive(Debug)]
pub struct Unreadable;

impl FromStr for Entry {
    type Err = Unreadable;

    fn from_str(line: &str) -> Result<Self, Unreadable> {
        let (what, rest) = line.split_once(' ').ok_or(Unreadable)?;
        let words: Vec<&str> = rest.split(' ').collect();
        Ok(match (what, &words[..]) {
            ("claimed", [fence, machine, process, session, started]) => Self::Claimed {
                fence: Fence::new(word(fence)?),
                machine: word(machine)?,
                process: word(process)?,
                session: word(session)?,
                started: word(started)?,
            },
            ("asked", [fence, outcome, tags @ ..]) => Self::Asked {
                fence: Fence::new(word(fence)?),
                outcome: outcome_of(outcome)?,
                tags: match tags {
                    [] => Tags::None,
                    ["tags"] => Tags::Written,
                    _ => return Err(Unreadable),
                },
            },
            ("acknowledged", [fence, outcome, backoff @ ..]) => Self::Acknowledged {
                fence: Fence::new(word(fence)?),
                outcome: outcome_of(outcome)?,
                backoff: match backoff {
                    [] => None,
                    [interval, until] => Some((word(interval)?, word(until)?)),
                    _ => return Err(Unreadable),
                },
            },
            ("refused", [fence, outcome]) => Self::Refused {
                fence: Fence::new(word(fence)?),
                outcome: outcome_of(outcome)?,
            },
            ("unknown", [fence, outcome]) => Self::Unknown {
                fence: Fence::new(word(fence)?),
                outcome: outcome_of(outcome)?,
            },
            ("failed", [doing, error @ ..]) => Self::Failed {
                doing: (*doing).to_owned(),
                error: error.join(" "),
            },
            ("saw", _) => Self::Saw(rest.to_owned()),
            _ => return Err(Unreadable),
        })
    }
}

fn word<T: FromStr>(word: &str) -> Result<T, Unreadable> {
    word.parse().map_err(|_| Unreadable)
}

fn outcome_of(word: &str) -> Result<Outcome, Unreadable> {
    let outcomes = [
        Outcome::Finished,
        Outcome::Failed,
        Outcome::Canceled,
        Outcome::Expired,
    ];
    let found = outcomes.into_iter().find(|o| o.as_str() == word);
    found.ok_or(Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn entries_are_read_back_except_for_an_incomplete_last_line() {
        let path = std::env::temp_dir().join(format!("bmdb-journal-{}", Uuid::new_v4()));
        let fence = Fence::new(7);
        let (failed, finished) = (Outcome::Failed, Outcome::Finished);
        let entries = [
            Entry::Claimed {
                fence,
                machine: Uuid::new_v4().to_string().parse().unwrap(),
                process: Process::SHEPHERD_ACCESS,
                session: Uuid::new_v4().to_string().parse().unwrap(),
                started: 1_800_000_000_123_456,
            },
            Entry::Asked {
                fence,
                outcome: finished,
                tags: Tags::Written,
            },
            Entry::Asked {
                fence,
                outcome: failed,
                tags: Tags::None,
            },
            Entry::Acknowledged {
                fence,
                outcome: failed,
                backoff: Some((5, -1)),
            },
            Entry::Acknowledged {
                fence,
                outcome: finished,
                backoff: None,
            },
            Entry::Refused {
                fence,
                outcome: finished,
            },
            Entry::Unknown {
                fence,
                outcome: failed,
            },
            Entry::Failed {
                doing: "claiming".to_owned(),
                error: "a reason with  spaces".to_owned(),
            },
            Entry::Saw("the end".to_owned()),
        ];
        let journal = Journal::create(&path).unwrap();
        for entry in &entries {
            journal.note(entry).unwrap();
        }
        (&journal.file)
            .write_all(b"00:00:00.000 claimed 8")
            .unwrap();
        assert_eq!(read(&path).unwrap(), entries);
        assert!(Journal::create(&path).is_err());
        (&journal.file).write_all(b" is not a claim\n").unwrap();
        assert!(read(&path).is_err());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_error_of_several_lines_is_one_line() {
        let entry = Entry::Failed {
            doing: "ending".to_owned(),
            error: "one\ntwo".to_owned(),
        };
        assert_eq!(entry.to_string(), "failed ending one two");
    }
}
