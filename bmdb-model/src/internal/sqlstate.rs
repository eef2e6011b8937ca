//! SQLSTATEs of the errors that servers reported lately, by the text of their messages.
//!
//! The code says what an error means in every language; the text does not. diesel-async drops the code and
//! keeps the exact text. So the connection's stream reads both as they pass, before the client sees them
//! ([`note`]), and the text leads back to the code wherever an error is classified ([`of`]).
//!
//! One text nearly always has one code. A `RAISE` may give equal texts different codes: the one that was
//! seen last counts then, unless Diesel knows the kind of the error.

use diesel::result::{DatabaseErrorKind as Kind, Error as DieselError};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{LazyLock, Mutex, PoisonError};

/// The five characters by which a server says what kind of error it reports.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// A code that the standard or PostgreSQL defines, such as `57014`.
    #[must_use]
    pub const fn new(code: [u8; 5]) -> Self {
        Self(code)
    }

    /// The code as a server sends it; `None` unless it is five digits and capital letters.
    #[must_use]
    pub fn parse(code: &[u8]) -> Option<Self> {
        let code: [u8; 5] = code.try_into().ok()?;
        let is_valid = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
        code.iter().all(is_valid).then_some(Self(code))
    }

    /// The five characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // `new` takes any bytes.
        std::str::from_utf8(&self.0).unwrap_or("?????")
    }

    /// The first two characters: the class of the error.
    #[must_use]
    pub fn class(&self) -> &str {
        self.as_str().get(..2).unwrap_or("??")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many errors are remembered at least. Every error is classified within moments of its arrival.
const REMEMBERED: usize = 1000;

/// What is known of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Noted {
    code: SqlState,
    /// Whether the server ended the connection with it.
    is_fatal: bool,
}

/// The codes by the hashes of their messages, which may be long and may contain what nobody should keep.
struct Memory {
    hasher: RandomState,
    recent: HashMap<u64, Noted>,
    /// Those before; dropped when there are as many recent ones.
    older: HashMap<u64, Noted>,
}

impl Memory {
    fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            recent: HashMap::new(),
            older: HashMap::new(),
        }
    }

    fn note(&mut self, message: &str, noted: Noted) {
        if self.recent.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(self.hasher.hash_one(message), noted);
    }

    fn get(&self, message: &str) -> Option<Noted> {
        let key = self.hasher.hash_one(message);
        self.recent
            .get(&key)
            .or_else(|| self.older.get(&key))
            .copied()
    }
}

static MEMORY: LazyLock<Mutex<Memory>> = LazyLock::new(|| Mutex::new(Memory::new()));

/// Remembers the code of an error (or notice) that a server has just reported, for [`of`]. `message` is the
/// field `M` of the server's message, unchanged.
///
/// It is called for every connection of the process, and keeps the last thousand at least.
pub fn note(code: SqlState, message: &str) {
    remember(code, message, false);
}

/// Like [`note`], for an error with which the server ends the connection (`FATAL` or `PANIC` in the field
/// `V`): whatever its code, a commit that was under way may have taken effect.
pub fn note_fatal(code: SqlState, message: &str) {
    remember(code, message, true);
}

fn remember(code: SqlState, message: &str, is_fatal: bool) {
    MEMORY
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .note(message, Noted { code, is_fatal });
}

/// The code of an error. `None` if no server reported it, or on a connection whose stream is not read (one
/// that was not made by `bmdb-core`), unless Diesel knows its kind.
#[must_use]
pub fn of(error: &DieselError) -> Option<SqlState> {
    match error {
        DieselError::DatabaseError(kind, info) => code_of(kind, info.message()),
        DieselError::RollbackErrorOnCommit { commit_error, .. } => of(commit_error),
        _ => None,
    }
}

pub(crate) fn code_of(kind: &Kind, message: &str) -> Option<SqlState> {
    let code = match kind {
        Kind::UniqueViolation => b"23505",
        Kind::ForeignKeyViolation => b"23503",
        Kind::NotNullViolation => b"23502",
        Kind::CheckViolation => b"23514",
        Kind::ExclusionViolation => b"23P01",
        Kind::RestrictViolation => b"23001",
        Kind::SerializationFailure => b"40001",
        Kind::ReadOnlyTransaction => b"25006",
        // These are the client's own errors, without a code.
        Kind::UnableToSendCommand | Kind::ClosedConnection => return None,
        _ => return of_message(message),
    };
    Some(SqlState::new(*code))
}

fn of_message(message: &str) -> Option<SqlState> {
    noted(message).map(|noted| noted.code)
}

fn noted(message: &str) -> Option<Noted> {
    MEMORY
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(message)
}

/// Whether the server ended the connection with this message ([`note_fatal`]).
pub(crate) fn is_fatal(message: &str) -> bool {
    noted(message).is_some_and(|noted| noted.is_fatal)
}

/// The code of an error that is only known by a text which ends with the server's message, such as
/// `Failed to run 2026-11-30-000400 with: canceling statement due to lock timeout`.
#[must_use]
pub fn of_text(text: &str) -> Option<SqlState> {
    let ends = text
        .match_indices(": ")
        .map(|(at, colon)| &text[at + colon.len()..]);
    std::iter::once(text).chain(ends).find_map(of_message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(code: &[u8; 5]) -> SqlState {
        SqlState::new(*code)
    }

    fn reported(kind: Kind, message: &str) -> DieselError {
        DieselError::DatabaseError(kind, Box::new(message.to_owned()))
    }

    #[test]
    fn the_code_of_a_message_in_any_language_is_found_by_its_text() {
        let text = "breche Anfrage wegen Zeitüberschreitung bei Sperre ab";
        let error = reported(Kind::Unknown, text);
        assert_eq!(of(&error), None);
        note(state(b"55P03"), text);
        assert_eq!(of(&error), Some(state(b"55P03")));
        for wrapped in [
            text.to_owned(),
            format!("Failed to run 2026-11-30-000400 with: {text}"),
            format!("an index: of its own: {text}"),
        ] {
            assert_eq!(of_text(&wrapped), Some(state(b"55P03")), "{wrapped}");
        }
        assert_eq!(of_text(&format!("{text}: and more")), None);
    }

    #[test]
    fn what_diesel_knows_of_an_error_counts_more_than_an_equal_text() {
        note(state(b"P0001"), "taken already");
        let error = reported(Kind::UniqueViolation, "taken already");
        assert_eq!(of(&error), Some(state(b"23505")));
        let lost = reported(Kind::UnableToSendCommand, "taken already");
        assert_eq!(of(&lost), None);
        note(state(b"P0002"), "taken already");
        let error = reported(Kind::Unknown, "taken already");
        assert_eq!(of(&error), Some(state(b"P0002")));
    }

    #[test]
    fn a_message_that_ended_its_connection_is_fatal_until_it_is_seen_as_an_error_again() {
        let text = "could not write to file: no space left on device";
        assert!(!is_fatal(text));
        note_fatal(state(b"53100"), text);
        assert!(is_fatal(text));
        note(state(b"53100"), text);
        assert!(!is_fatal(text));
    }

    #[test]
    fn a_thousand_messages_are_remembered_and_not_twice_as_many() {
        let mut memory = Memory::new();
        let noted = Noted {
            code: state(b"P0001"),
            is_fatal: false,
        };
        for number in 0..10 * REMEMBERED {
            memory.note(&number.to_string(), noted);
            let oldest = (number + 1).saturating_sub(REMEMBERED);
            assert!(memory.get(&oldest.to_string()).is_some(), "{number}");
            assert!(memory.recent.len() + memory.older.len() <= 2 * REMEMBERED);
        }
    }

    #[test]
    fn a_code_is_five_digits_and_capital_letters() {
        let code = SqlState::parse(b"57P01").unwrap();
        assert_eq!((code.as_str(), code.class()), ("57P01", "57"));
        assert_eq!(format!("{code} {code:?}"), "57P01 57P01");
        for bad in [&b"57P0"[..], b"57P011", b"57p01", b"", b"57P0\xff"] {
            assert_eq!(SqlState::parse(bad), None, "{bad:?}");
        }
    }
}
