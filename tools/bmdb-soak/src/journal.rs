//! Journal: the append-only file in which a worker notes what it asked for and what it was answered.
//!
//! Each line is one `write(2)`, so a killed worker leaves every line that it has written. The time at
//! the beginning of a line is for people; nothing depends on it.

use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, Process, SessionId};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
}

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A claim was answered.
    Claimed(Claim),
    /// A step of an end of a claim.
    End(Fence, Outcome, Step),
    /// An operation failed; `doing` is one word.
    Failed { doing: String, error: String },
    /// Something happened that no fault excuses.
    Wrong(String),
    /// Something happened that is only counted.
    Saw(String),
}

/// A claim as its worker got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) fence: Fence,
    pub(crate) machine: MachineId,
    pub(crate) process: Process,
    pub(crate) session: SessionId,
    /// In microseconds since the epoch, by the database's clock.
    pub(crate) started: i64,
}

/// A failure's interval in seconds, and its end in microseconds since the epoch by the database's clock.
pub(crate) type Backoff = (u32, i64);

/// How far an end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is about to be asked for. A worker notes this before every end.
    Asked(Tags),
    /// It was acknowledged. A failure has a backoff.
    Acknowledged(Option<Backoff>),
    /// It was refused, because the worker had lost the work.
    Refused,
    /// The answer is missing: the end may be recorded or not.
    Unknown,
}

/// Whether an end writes tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tags {
    /// Committed with the end, or not at all.
    Written,
    None,
}

/// The last entry of a worker that has drained.
pub(crate) const THE_END: &str = "the end";

impl Journal {
    /// Creates a journal; the file must not exist.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create_new(true).open(path)?;
        Ok(Self { file })
    }

    /// Appends a line in one write. After an error the worker should end, because its journal is
    /// incomplete.
    pub(crate) fn note(&self, entry: &Entry) -> io::Result<()> {
        let line = format!("{} {entry}\n", time_of_day());
        (&self.file).write_all(line.as_bytes())
    }
}

/// Reads all entries of a journal. The last line of a killed worker may be cut and is then ignored; any
/// other line that cannot be parsed is [`io::ErrorKind::InvalidData`].
pub(crate) fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let text = fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let entry = |line: &str| {
        let entry = line.split_once(' ').map_or("", |(_time, entry)| entry);
        entry.parse().map_err(|Unreadable| {
            let place = format!("{}: {line:?}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, place)
        })
    };
    whole.lines().map(entry).collect()
}

#[allow(
    clippy::disallowed_methods,
    reason = "for people who read a journal; nothing depends on it"
)]
fn time_of_day() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    let day = since.as_secs() % 86_400;
    let (hour, minute, second) = (day / 3600, day / 60 % 60, day % 60);
    let millis = since.subsec_millis();
    format!("{hour:02}:{minute:02}:{second:02}.{millis:03}")
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claimed(Claim {
                fence,
                machine,
                process,
                session,
                started,
            }) => write!(f, "claimed {fence} {machine} {process} {session} {started}"),
            Self::End(fence, outcome, step) => {
                let (step, rest) = match step {
                    Step::Asked(Tags::None) => ("asked", String::new()),
                    Step::Asked(Tags::Written) => ("asked", " tags".to_owned()),
                    Step::Acknowledged(None) => ("acknowledged", String::new()),
                    Step::Acknowledged(Some((interval, until))) => {
                        ("acknowledged", format!(" {interval} {until}"))
                    }
                    Step::Refused => ("refused", String::new()),
                    Step::Unknown => ("unknown", String::new()),
                };
                write!(f, "{step} {fence} {outcome}{rest}")
            }
            Self::Failed { doing, error } => write!(f, "failed {doing} {}", one_line(error)),
            Self::Wrong(what) => write!(f, "wrong {}", one_line(what)),
            Self::Saw(what) => write!(f, "saw {what}"),
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// A line that is not an entry.
#[derive(Debug)]
pub(crate) struct Unreadable;

impl FromStr for Entry {
    type Err = Unreadable;

    fn from_str(line: &str) -> Result<Self, Unreadable> {
        let (kind, rest) = line.split_once(' ').ok_or(Unreadable)?;
        let words: Vec<&str> = rest.split(' ').collect();
        Ok(match (kind, &words[..]) {
            ("claimed", [fence, machine, process, session, started]) => Self::Claimed(Claim {
                fence: Fence::new(word(fence)?),
                machine: word(machine)?,
                process: word(process)?,
                session: word(session)?,
                started: word(started)?,
            }),
            ("failed", [doing, error @ ..]) => Self::Failed {
                doing: (*doing).to_owned(),
                error: error.join(" "),
            },
            ("wrong", _) => Self::Wrong(rest.to_owned()),
            ("saw", _) => Self::Saw(rest.to_owned()),
            (_, [fence, outcome, rest @ ..]) => {
                let step = match (kind, rest) {
                    ("asked", []) => Step::Asked(Tags::None),
                    ("asked", ["tags"]) => Step::Asked(Tags::Written),
                    ("acknowledged", []) => Step::Acknowledged(None),
                    ("acknowledged", [interval, until]) => {
                        Step::Acknowledged(Some((word(interval)?, word(until)?)))
                    }
                    ("refused", []) => Step::Refused,
                    ("unknown", []) => Step::Unknown,
                    _ => return Err(Unreadable),
                };
                let outcome = outcome_of(outcome).ok_or(Unreadable)?;
                Self::End(Fence::new(word(fence)?), outcome, step)
            }
            _ => return Err(Unreadable),
        })
    }
}

fn word<T: FromStr>(word: &str) -> Result<T, Unreadable> {
    word.parse().map_err(|_| Unreadable)
}

/// The outcome of this name, as journals and the database write it.
pub(crate) fn outcome_of(name: &str) -> Option<Outcome> {
    let outcomes = [
        Outcome::Finished,
        Outcome::Failed,
        Outcome::Canceled,
        Outcome::Expired,
    ];
    outcomes.into_iter().find(|o| o.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_back_without_a_last_line_that_was_cut() {
        let name = format!("bmdb-journal-{}", MachineId::random());
        let path = std::env::temp_dir().join(name);
        let fence = Fence::new(7);
        let (failed, finished) = (Outcome::Failed, Outcome::Finished);
        let entries = [
            Entry::Claimed(Claim {
                fence,
                machine: MachineId::random(),
                process: Process::SHEPHERD_ACCESS,
                session: SessionId::random(),
                started: 1_800_000_000_123_456,
            }),
            Entry::End(fence, finished, Step::Asked(Tags::Written)),
            Entry::End(fence, failed, Step::Asked(Tags::None)),
            Entry::End(fence, failed, Step::Acknowledged(Some((5, -1)))),
            Entry::End(fence, finished, Step::Acknowledged(None)),
            Entry::End(fence, finished, Step::Refused),
            Entry::End(fence, failed, Step::Unknown),
            Entry::Failed {
                doing: "claiming".to_owned(),
                error: "a reason with  spaces".to_owned(),
            },
            Entry::Wrong("a zombie ended".to_owned()),
            Entry::Saw(THE_END.to_owned()),
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
    fn an_error_of_several_lines_is_written_as_one_line() {
        let entry = Entry::Failed {
            doing: "ending".to_owned(),
            error: "one\ntwo".to_owned(),
        };
        assert_eq!(entry.to_string(), "failed ending one two");
    }
}
