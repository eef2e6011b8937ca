//! The errors that faults account for. Any other one is a finding.

use super::fault::Kind;
use std::collections::BTreeMap;

/// Where the server dies or the network does.
const LOST: &[Kind] = &[
    Kind::Cut,
    Kind::Delay,
    Kind::BlackHole,
    Kind::HalfOpen,
    Kind::StopWorker,
    Kind::KillServer,
    Kind::KillStandby,
    Kind::DiskFull,
    Kind::Connections,
    Kind::Timeouts,
    Kind::LongTransaction,
];

/// Where the server itself dies.
const DIES: &[Kind] = &[Kind::KillServer, Kind::DiskFull];

/// Where statements take long: the server is slow, or waits for something.
const WAITS: &[Kind] = &[
    Kind::KillStandby,
    Kind::DiskFull,
    Kind::Timeouts,
    Kind::LongTransaction,
    Kind::StopWorker,
    Kind::Delay,
    Kind::BlackHole,
    Kind::HalfOpen,
    Kind::KillServer,
];

/// What needs no fault: a lease of one second runs out on a machine that is busy with something else.
const ALWAYS: &[&str] = &["the session has expired", "the session is suspect"];

/// A part of the error's words, and the faults that account for it.
const LEGAL: &[(&str, &[Kind])] = &[
    ("the work is lost", LOST),
    ("connection", LOST),
    ("Connection", LOST),
    ("no answer from the database", LOST),
    ("the database is silent", LOST),
    ("cannot reach the database", LOST),
    ("the database system is", DIES),
    // Within a message, while a connection is being made.
    ("bytes remaining on stream", LOST),
    ("terminating connection", LOST),
    ("statement timeout", WAITS),
    ("lock timeout", WAITS),
    ("canceling statement", WAITS),
    ("No space left on device", &[Kind::DiskFull]),
    ("(SQLSTATE 53300)", &[Kind::Connections]),
];

/// The errors that none of these faults accounts for, each with how often it was noted.
pub(crate) fn unaccounted<'e>(
    errors: &'e BTreeMap<(String, String), usize>,
    injected: &[Kind],
) -> Vec<(&'e str, &'e str, usize)> {
    let unaccounted = errors
        .iter()
        .filter(|((_, error), _)| !is_legal(error, injected));
    unaccounted
        .map(|((doing, error), times)| (doing.as_str(), error.as_str(), *times))
        .collect()
}

fn is_legal(error: &str, injected: &[Kind]) -> bool {
    let accounted = LEGAL.iter().any(|(words, kinds)| {
        error.contains(words) && kinds.iter().any(|kind| injected.contains(kind))
    });
    accounted || ALWAYS.iter().any(|words| error.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_legal_only_under_a_fault_that_accounts_for_it() {
        let full = "database: could not extend file \"base/1\": No space left on device";
        assert!(is_legal(full, &[Kind::Cut, Kind::DiskFull]));
        assert!(!is_legal(full, &[Kind::Cut]));
        assert!(is_legal("the session has expired: start a new one", &[]));
        assert!(!is_legal(
            "the work is lost: the session does not hold it",
            &[]
        ));
        assert!(!is_legal("database: duplicate key value", &Kind::ALL));
    }
}
