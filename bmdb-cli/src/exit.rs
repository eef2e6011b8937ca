//! Exit codes: one for each next step of a script.

use std::process::ExitCode;

/// Why the program failed. The top-level help explains the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Other,
    Usage,
    NotFound,
    Conflict,
    Unreachable,
    Schema,
    Denied,
    Host,
    HungUp,
    Interrupted,
    Quit,
    Terminated,
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
            Self::Host => 8,
            // 128 + the number of the signal.
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::Quit => 131,
            Self::Terminated => 143,
        }
    }

    /// The name in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Unreachable => "unreachable",
            Self::Schema => "schema",
            Self::Denied => "denied",
            Self::Host => "host",
            Self::HungUp => "hung_up",
            Self::Interrupted => "interrupted",
            Self::Quit => "quit",
            Self::Terminated => "terminated",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The exit codes in the top-level help.
pub(crate) const HELP: &str = "\
Exit codes:
    0  success
    1  any other failure
    2  invalid request: an argument, a file, a database URL, or a missing --yes
    3  not found: no such machine, process, session or claimed work
    4  conflict: claimed by a session, exists already, or changed in the meantime
    5  the database cannot be reached or used now: no connection or disk is free, it takes
       no writes, or the statement was canceled
    6  the database schema does not fit this program: see `bmdb migrate status`
    7  the database user may not log in, or lacks a privilege
    8  this host cannot run the command of `bmdb run`
  129, 130, 131, 143  ended by SIGHUP, Ctrl-C (SIGINT), SIGQUIT or SIGTERM";
