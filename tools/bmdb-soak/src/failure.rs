//! Why a command does not succeed, and its exit code.

use std::error::Error;
use std::process::ExitCode;

/// Converts from every error, with the texts of its sources. It is therefore not an error itself.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A step went wrong.
    Step(String),
    /// The request itself was wrong.
    Usage(String),
    /// The judge found something; the report says what.
    Found,
}

pub(crate) type Done<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn step(message: impl Into<String>) -> Self {
        Self::Step(message.into())
    }

    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Self::Step(message) | Self::Usage(message) => Some(message),
            Self::Found => None,
        }
    }

    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Step(_) | Self::Found => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
        }
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Step(text(&error))
    }
}

/// An error's message, followed by those of its sources that it does not repeat.
pub(crate) fn text(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        source = cause.source();
    }
    text
}
