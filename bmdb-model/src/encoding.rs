//! The encoding of a database: texts from machines and commands need one that has every character.

use std::fmt;

/// A database that stores its texts in another encoding than UTF-8. A cause with a character that it lacks
/// could not be recorded, and the machine would be worked on again at once, for ever.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct NotUtf8 {
    /// The encoding, as PostgreSQL calls it.
    pub encoding: String,
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the encoding of the database is {}, which cannot store every text; bmdb needs UTF8: create a \
             database with CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8', and move what there is with \
             pg_dump and psql",
            self.encoding
        )
    }
}

/// Refuses every encoding but UTF-8.
///
/// # Errors
/// [`NotUtf8`].
pub(crate) fn check(encoding: &str) -> Result<(), NotUtf8> {
    match encoding {
        "UTF8" => Ok(()),
        encoding => Err(NotUtf8 {
            encoding: encoding.to_owned(),
        }),
    }
}
