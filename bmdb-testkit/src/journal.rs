//! What a worker process knows of its own work, noted in an append-only file that outlives it.
//!
//! Each line is written with one `write(2)`: of a process that is killed every line is there that it
//! has written. What a line says is machine-readable; the time at its beginning is for people, and
//! nothing is decided by it.

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
        /// Its number.
        fence: Fence,
        /// The machine.
        machine: MachineId,
        /// The process that is worked on.
        process: Process,
        /// The session that holds it.
        session: SessionId,
        /// When the database says that it began.
        started: i64,
    },
    /// An end is about to be asked for. Without this line before it nobody asks for an end.
    Asked {
        /// Of which claim.
        fence: Fence,
        /// As what.
        outcome: Outcome,
        /// Whether tags are to be written with it.
        tags: Tags,
    },
    /// An end was acknowledged.
    Acknowledged {
        /// Of which claim.
        fence: Fence,
        /// As what.
        outcome: Outcome,
        /// For a failure: the interval in seconds, and when it ends.
        backoff: Option<(u32, i64)>,
    },
    /// An end was refused: the work was no longer this worker's.
    Refused {
        /// Of which claim.
        fence: Fence,
        /// As what.
        outcome: Outcome,
    },
    /// What became of an end was not said: it may be there, or not.
    Unknown {
        /// Of which claim.
        fence: Fence,
        /// As what.
        outcome: Outcome,
    },
    /// Something failed.
    Failed {
        /// What was tried, in one word.
        doing: String,
        /// The error.
        error: String,
    },
    /// Something happened that is only counted.
    Saw(String),
}

/// Whether an end writes tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    /// They are committed with the end, or not at all.
    Written,
    /// Only the end is recorded.
    None,
}

impl Journal {
    /// A new journal at this path.
    ///
    /// # Errors
    /// The operating system's, also where there is one already.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create_new(true).open(path)?;
        Ok(Self { file })
    }

    /// Appends a line, in one write.
    ///
    /// # Errors
    /// The operating system's: then nobody knows what was done, and the process should end.
    pub fn note(&self, entry: &Entry) -> io::Result<()> {
        let line = format!("{} {entry}\n", time_of_day());
        (&self.file).write_all(line.as_bytes())
    }
}

/// All entries of a journal, in their order. Of a process that was killed the last line may be cut.
///
/// # Errors
/// The operating system's; [`io::ErrorKind::InvalidData`] for a line that says nothing.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let text = fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let entry = |line: &str| {
        let said = line.split_once(' ').map_or("", |(_time, said)| said);
        said.parse()
            .map_err(|Unreadable| io::Error::new(io::ErrorKind::InvalidData, format!("{line:?}")))
    };
    whole.lines().map(entry).collect()
}

/// By the process's own clock, which may be wrong.
#[allow(
    clippy::disallowed_methods,
    reason = "for whoever reads a journal; nothing is decided by it"
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

/// A line that is no entry.
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
    fn what_was_noted_is_read_back_but_for_a_line_that_was_cut() {
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
        (&journal.file).write_all(b" is no claim\n").unwrap();
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
