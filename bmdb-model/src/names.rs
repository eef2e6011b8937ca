//! Names of open sets: processes, providers and lanes. Downstream users add names without a migration.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes (names are ASCII).
const MAXIMUM_LENGTH: usize = 63;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, { $($(#[$const_doc:meta])* $konst:ident = $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
        #[diesel(sql_type = Text)]
        pub struct $name(Cow<'static, str>);

        impl $name {
            $($(#[$const_doc])* pub const $konst: Self = Self(Cow::Borrowed($text));)*

            /// The name `text`, if it matches `[A-Za-z][A-Za-z0-9_-]{0,62}`.
            ///
            /// # Errors
            /// [`InvalidName`] says what is wrong with it.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                check($what, &text)?;
                Ok(Self(Cow::Owned(text)))
            }

            /// A name that is fixed in the program's text.
            ///
            /// # Panics
            /// When the name is invalid; in a `const`, that is a compile-time error.
            #[must_use]
            pub const fn from_static(text: &'static str) -> Self {
                assert!(problem(text.as_bytes()).is_none(), concat!("not a valid ", $what));
                Self(Cow::Borrowed(text))
            }

            /// The name of a row. One that somebody has written by SQL and that breaks the rule becomes
            /// a marked one, which names no row: an error would be one of all rows of the statement.
            fn stored(text: String) -> Self {
                Self(Cow::Owned(match check($what, &text) {
                    Ok(()) => text,
                    Err(invalid) => invalid.marked(),
                }))
            }

            /// The name. That of a row which somebody has written by SQL may be no valid one: then it reads
            /// `(invalid process name "…")`.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidName;

            fn try_from(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl ToSql<Text, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                ToSql::<Text, Pg>::to_sql(self.as_str(), out)
            }
        }

        impl FromSql<Text, Pg> for $name {
            fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
                Ok(Self::stored(<String as FromSql<Text, Pg>>::from_sql(bytes)?))
            }
        }
    };
}

name! {
    /// A named kind of work on a machine.
    Process, "process name", {
        /// The original's general access to a machine, claimed through explicit retrievals only.
        SHEPHERD_ACCESS = "ShepherdAccess";
        /// Starting the agent on a newly provided machine.
        SHEPHERD_AGENT_START = "ShepherdAgentStart";
        /// Recovering a machine whose agent has fallen silent.
        SHEPHERD_RECOVERY = "ShepherdRecovery";
    }
}

name! {
    /// Where a machine comes from; each provider has a queue from which claims read.
    Provider, "provider name", {
        /// Equinix Metal.
        EQUINIX = "Equinix";
        /// Lumen.
        LUMEN = "Lumen";
        /// A machine that no provider's API manages.
        NONE = "None";
    }
}

name! {
    /// Processes that exclude each other on one machine share a lane.
    Lane, "lane name", {
        /// The lane of the three shepherd processes.
        SHEPHERD = "shepherd";
    }
}

impl From<&Process> for Lane {
    /// The lane of a process without a definition: its own.
    fn from(process: &Process) -> Self {
        Self(process.0.clone())
    }
}

/// A text that breaks the rule for names, `[A-Za-z][A-Za-z0-9_-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid {what} {text:?}: {problem} \
          (expected a letter, then up to 62 letters, digits, underscores or hyphens)"
)]
/// The text does not match `[A-Za-z][A-Za-z0-9_-]{0,62}`.
pub struct InvalidName {
    what: &'static str,
    text: String,
    problem: Problem,
}

impl InvalidName {
    /// The text as a list shows it: quoted, so that it is no valid name.
    fn marked(&self) -> String {
        format!("(invalid {} {:?})", self.what, self.text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than 63 bytes")]
    TooLong,
    #[error("it does not start with a letter")]
    Start,
    #[error("byte {0} is not allowed")]
    Byte(usize),
}

fn check(what: &'static str, text: &str) -> Result<(), InvalidName> {
    match problem(text.as_bytes()) {
        None => Ok(()),
        Some(problem) => {
            let text = text.chars().take(MAXIMUM_LENGTH + 1).collect();
            Err(InvalidName {
                what,
                text,
                problem,
            })
        }
    }
}

const fn problem(text: &[u8]) -> Option<Problem> {
    if text.is_empty() {
        return Some(Problem::Empty);
    }
    if text.len() > MAXIMUM_LENGTH {
        return Some(Problem::TooLong);
    }
    if !text[0].is_ascii_alphabetic() {
        return Some(Problem::Start);
    }
    let mut at = 1;
    while at < text.len() {
        if !(text[at].is_ascii_alphanumeric() || matches!(text[at], b'_' | b'-')) {
            return Some(Problem::Byte(at));
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_convert_from_text_and_back() {
        let process = Process::try_from("AcmeWipe").unwrap();
        assert_eq!(
            Process::try_from("AcmeWipe".to_owned()),
            Ok(process.clone())
        );
        assert_eq!(process.as_ref(), "AcmeWipe");
        assert_eq!(String::from(process), "AcmeWipe");
        assert!(Lane::try_from("a b").is_err());
    }

    #[test]
    fn a_stored_name_that_is_not_valid_is_marked() {
        let stored = |text: &str| Process::stored(text.to_owned());
        assert_eq!(stored("AcmeWipe"), Process::from_static("AcmeWipe"));
        assert_eq!(
            stored("a\u{1b}b").as_str(),
            "(invalid process name \"a\\u{1b}b\")"
        );
        assert!(Process::new(stored("").as_str()).is_err());
    }

    #[test]
    fn valid_names_are_accepted_and_others_are_refused_with_the_offending_byte() {
        for good in ["A", "ShepherdAgentStart", "a-b_9", &"x".repeat(63)] {
            assert_eq!(Process::new(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", "it is empty"),
            ("9a", "it does not start with a letter"),
            ("a b", "byte 1 is not allowed"),
            ("prozeß", "byte 5 is not allowed"),
            ("a\0", "byte 1 is not allowed"),
            (&*"x".repeat(64), "it is longer than 63 bytes"),
        ] {
            let error = Provider::new(bad).unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains("provider name"),
                "{error}"
            );
        }
    }
}
