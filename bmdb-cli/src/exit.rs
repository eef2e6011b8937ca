//! How the program ends: one code for each next step of a script.

use std::process::ExitCode;

/// Why the program did not succeed. The top-level help lists the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It failed for a reason that is none of the others.
    Other,
    /// The request itself is wrong: an argument, a file, a database URL.
    Usage,
    /// What is asked for is not there.
    NotFound,
    /// It is held, taken, known already, or somebody else was faster.
    Conflict,
    /// The database cannot be reached, or is not one that can be used.
    Unreachable,
    /// The database's schema is older or newer than what this program needs.
    Schema,
    /// The database user may not do that.
    Denied,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Unreachable => 5,
            Self::Schema => 6,
            Self::Denied => 7,
            Self::Interrupted => 130,
        }
    }

    /// Its name in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Unreachable => "unreachable",
            Self::Schema => "schema",
            Self::Denied => "denied",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// What the top-level help says about exit codes.
pub(crate) const HELP: &str = "\
Exit codes:
    0  done
    1  it failed for another reason than the following
    2  the request is wrong: an argument, a file, a database URL, a missing --yes
    3  there is no such machine, session or work
    4  conflict: held by somebody, taken, known already, or changed meanwhile
    5  the database cannot be reached, or has no room for another connection
    6  the database's schema does not fit this program: see `bmdb migrate status`
    7  the database user may not log in, or has no privilege for that
  130  interrupted by Ctrl-C";
