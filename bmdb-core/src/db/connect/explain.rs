//! Explanations of failed connections, in the terms of [`ConnectError`].

use super::negotiation::NegotiationError;
use crate::db::tls::Tls;
use crate::error::ConnectError;
use rustls::Error as TlsError;
use std::error::Error;
use std::io;
use tokio_postgres::error::SqlState;

/// How the messages begin of refusals that come from us, because the login cannot succeed.
pub(super) const NO_LOGIN: &str = "no login: ";

/// The server that was asked: its name, and how its connections are protected.
#[derive(Clone, Copy)]
pub(super) struct Peer<'a> {
    pub(super) name: &'a str,
    pub(super) tls: &'a Tls,
}

impl Peer<'_> {
    pub(super) fn unreachable(
        self,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> ConnectError {
        ConnectError::Unreachable {
            target: self.name.to_owned(),
            reason: source.into(),
        }
    }

    fn not_postgres(self, reason: String) -> ConnectError {
        ConnectError::NotPostgres {
            target: self.name.to_owned(),
            reason: reason.into(),
        }
    }

    /// Explains why a connection could not be encrypted.
    pub(super) fn explain_negotiation(self, error: NegotiationError) -> ConnectError {
        let target = self.name.to_owned();
        match error {
            NegotiationError::NotEncrypted => ConnectError::NotEncrypted { target },
            NegotiationError::Refused => {
                self.unreachable("it answers the request for TLS with an error; see its log")
            }
            NegotiationError::NotPostgres(byte) => self.not_postgres(format!(
                "it answers the request for TLS with the byte {byte:#04x}"
            )),
            NegotiationError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.unreachable("connection closed")
            }
            NegotiationError::Io(error) => self.unreachable(error),
            NegotiationError::Tls(error) => match tls_error(&error) {
                Some(tls) => self.tls.explain(target, tls),
                None => ConnectError::Tls {
                    target,
                    reason: format!("the TLS handshake failed: {error}").into(),
                },
            },
        }
    }

    /// Explains why the server did not let us in.
    pub(super) fn explain_startup(self, error: &tokio_postgres::Error) -> ConnectError {
        let target = self.name.to_owned();
        if let Some(refusal) = error.as_db_error() {
            return ConnectError::Refused {
                target,
                message: refusal.message().to_owned(),
                code: refusal.code().code().to_owned(),
            };
        }
        let cause = error.source();
        if let Some((problem, code)) = login_problem(error) {
            return ConnectError::Refused {
                target,
                message: format!("{NO_LOGIN}{problem}"),
                code: code.code().to_owned(),
            };
        }
        let from_the_system = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
        // A server that checks the client's certificate refuses it after the handshake.
        if let Some(tls) = from_the_system.and_then(tls_error) {
            return self.tls.explain(target, tls);
        }
        let text = with_source(error);
        match from_the_system {
            Some(io) if !violates_protocol(io) => self.unreachable(text),
            None if !error.to_string().contains("unexpected message") => self.unreachable(text),
            _ => self.not_postgres(text),
        }
    }
}

/// One error for all addresses of a server: the first from a server that answered, or else the last, with
/// the reasons of all.
pub(super) fn of_all_addresses(mut errors: Vec<ConnectError>) -> Option<ConnectError> {
    let is_silence = |error: &ConnectError| {
        matches!(
            error,
            ConnectError::Unreachable { .. } | ConnectError::Timeout { .. }
        )
    };
    if let Some(answered) = errors.iter().position(|error| !is_silence(error)) {
        return Some(errors.swap_remove(answered));
    }
    errors.pop()
}

/// Why tokio-postgres gave up a login, and what the server would answer if it had gone on. Waiting mends neither.
fn login_problem(error: &tokio_postgres::Error) -> Option<(String, SqlState)> {
    let cause = error.source()?.to_string();
    if cause == "password missing" {
        let problem = "it asks for a password, and there is none in the URL, PGPASSWORD or the password \
                       file";
        return Some((problem.to_owned(), SqlState::INVALID_PASSWORD));
    }
    // For example Kerberos, or channel binding that is required and not there.
    let is_about_login = error.to_string().starts_with("authentication error");
    is_about_login.then_some((cause, SqlState::INVALID_AUTHORIZATION_SPECIFICATION))
}

/// The TLS error inside an I/O error.
fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// Whether an I/O error means that the server violates the protocol. A server that closes the connection does
/// not.
fn violates_protocol(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => true,
        io::ErrorKind::UnexpectedEof => error.to_string() != "early eof",
        _ => false,
    }
}

/// The error of tokio-postgres with its source, which contains the reason.
fn with_source(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
