//! Journal: the append-only file in which a worker notes what it asked for and what it was answered.
//!
//! Each line is one `write(2)`, so a killed worker leaves every line that it has written. It is a time
//! for people, on which nothing depends, and an entry as JSON.

use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, Process, SessionId};
use serde::{Deserialize, Serialize, Serializer};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
}

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Entry {
    /// A claim was answered.
    Claimed(Claim),
    /// A step of an end of a claim.
    End(Fence, Outcome, Step),
    /// An operation failed.
    Failed {
        doing: String,
        #[serde(serialize_with = "one_line")]
        error: String,
    },
    /// Something happened that no fault excuses.
    Wrong(#[serde(serialize_with = "one_line")] String),
    /// Something happened that is only counted.
    Saw(String),
}

/// A claim as its worker got it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Tags {
    /// Committed with the end, or not at all.
    Written,
    None,
}

/// The file in which the run notes what it does to the fleet itself.
pub(crate) const OPERATOR: &str = "operator.journal";

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
    #[allow(
        clippy::disallowed_methods,
        reason = "for people who read a journal; nothing depends on it"
    )]
    pub(crate) fn note(&self, entry: &Entry) -> io::Result<()> {
        let time = chrono::Utc::now().format("%H:%M:%S%.3f");
        let line = format!("{time} {}\n", serde_json::to_string(entry)?);
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
        serde_json::from_str(entry).map_err(|error| {
            let place = format!("{}: {line:?}: {error}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, place)
        })
    };
    whole.lines().map(entry).collect()
}

/// Writes a text of several lines as one.
fn one_line<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text.replace(['\n', '\r'], " "))
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
            .write_all(br#"00:00:00.000 {"Claimed": 8"#)
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
        let line = serde_json::to_string(&entry).unwrap();
        assert_eq!(line, r#"{"Failed":{"doing":"ending","error":"one two"}}"#);
    }
}
