//! Legal errors: which faults explain which errors of workers. Every other error is a finding.

use crate::fault::Kind;
use std::collections::BTreeMap;

/// Faults after which connections fail, or answers come too late for a lease.
const DISCONNECTS: &[Kind] = &[
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

/// Faults that stop the server.
const SERVER_DOWN: &[Kind] = &[Kind::KillServer, Kind::DiskFull];

/// Faults under which statements take long.
const SLOW: &[Kind] = &[
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

const TERMINATED: &[Kind] = &[Kind::Terminate];

/// Legal without a fault: on a busy machine a lease of one second runs out.
const ALWAYS: &[&str] = &["the session has expired", "the session is suspect"];

/// A part of the error's text, and the faults that explain it.
const LEGAL: &[(&str, &[Kind])] = &[
    ("the work is lost", DISCONNECTS),
    ("connection", DISCONNECTS),
    ("Connection", DISCONNECTS),
    ("no answer from the database", DISCONNECTS),
    ("the database is silent", DISCONNECTS),
    ("cannot reach the database", DISCONNECTS),
    ("the database system is", SERVER_DOWN),
    // A message was cut while a connection was being made.
    ("bytes remaining on stream", DISCONNECTS),
    ("statement timeout", SLOW),
    ("lock timeout", SLOW),
    ("canceling statement", SLOW),
    ("No space left on device", &[Kind::DiskFull]),
    ("(SQLSTATE 53300)", &[Kind::Connections]),
    ("terminating connection", TERMINATED),
    ("connection closed", TERMINATED),
    ("the connection broke during the commit", TERMINATED),
    ("cannot reach the database", TERMINATED),
    ("bytes remaining on stream", TERMINATED),
    ("error communicating with the server", TERMINATED),
];

/// The errors that none of these faults explains, each with how often it was noted.
pub(crate) fn unexplained<'e>(
    errors: &'e BTreeMap<(String, String), usize>,
    injected: &[Kind],
) -> Vec<(&'e str, &'e str, usize)> {
    let unexplained = errors
        .iter()
        .filter(|((_, error), _)| !is_legal(error, injected));
    unexplained
        .map(|((doing, error), times)| (doing.as_str(), error.as_str(), *times))
        .collect()
}

fn is_legal(error: &str, injected: &[Kind]) -> bool {
    let is_explained = LEGAL.iter().any(|(text, kinds)| {
        error.contains(text) && kinds.iter().any(|kind| injected.contains(kind))
    });
    is_explained || ALWAYS.iter().any(|text| error.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_legal_only_under_a_fault_that_explains_it() {
        let full = "database: could not extend file \"base/1\": No space left on device";
        assert!(is_legal(full, &[Kind::Cut, Kind::DiskFull]));
        assert!(!is_legal(full, &[Kind::Cut]));
        assert!(is_legal("the session has expired: start a new one", &[]));
        let lost = "the work is lost: the session does not hold it";
        assert!(!is_legal(lost, &[]));
        assert!(!is_legal(lost, &Kind::STRESS));
        let timeout = "no connection to the database: timeout while waiting for the pool";
        assert!(!is_legal(timeout, &Kind::STRESS));
        assert!(!is_legal("database: duplicate key value", &Kind::SOAK));
    }
}
