//! HTTP errors: why a page cannot be shown, rendered as a page that says what to do.

use crate::page::{Page, Section};
use axum::http::StatusCode;
use bmdb_core::TxError;
use bmdb_model::ErrorKind;
use maud::html;

#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    title: &'static str,
    /// What is wrong.
    reason: String,
    /// What to do about it.
    advice: &'static str,
}

impl HttpError {
    pub(crate) fn bad_request(subject: &str, reason: impl AsRef<str>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            title: "Invalid request",
            reason: format!("{subject}: {}", reason.as_ref()),
            advice: "Correct the address, or start from one of the pages above.",
        }
    }

    pub(crate) fn bad_parameter(name: &str, reason: impl AsRef<str>) -> Self {
        Self::bad_request(&format!("parameter {name:?}"), reason)
    }

    pub(crate) fn not_found(reason: impl Into<String>, advice: &'static str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            title: "Not found",
            reason: reason.into(),
            advice,
        }
    }

    pub(crate) fn unknown_page() -> Self {
        let advice = "Start from one of the pages above.";
        Self::not_found("There is no such page.", advice)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            title: "The console is read-only",
            reason: "The console only answers GET and HEAD requests.".to_owned(),
            advice: "To change something, use the bmdb command; see bmdb --help.",
        }
    }

    #[cfg(test)]
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn into_page(self) -> Page {
        let body = html! {
            div.notice {
                p.lead { (self.reason) }
                p { (self.advice) }
            }
        };
        Page {
            status: self.status,
            ..Page::new(self.title, Section::None, body)
        }
    }
}

impl From<TxError> for HttpError {
    fn from(error: TxError) -> Self {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let (status, title, advice) = match (&error, error.kind()) {
            (TxError::Unavailable(_), _) | (_, Some(ErrorKind::ConnectionLost)) => (
                unavailable,
                "The database does not answer",
                "Load the page again in a moment. If the error stays, check that the server runs, \
                 that this host reaches it, and that it has free connections.",
            ),
            (
                _,
                Some(
                    ErrorKind::ReadOnly
                    | ErrorKind::OutOfResources
                    | ErrorKind::NotReady
                    | ErrorKind::StalePlan
                    | ErrorKind::Canceled
                    | ErrorKind::Internal,
                ),
            ) => (
                unavailable,
                "The database cannot answer now",
                "Load the page again in a moment. If the error stays, look up its SQLSTATE and read the \
                 server's log.",
            ),
            (_, Some(ErrorKind::SchemaMismatch)) => (
                unavailable,
                "The schema is not this console's",
                "Run a console of the version that migrated the database; bmdb migrate status shows both.",
            ),
            (_, Some(ErrorKind::StatementTimeout)) => (
                unavailable,
                "The database is too slow",
                "Load the page again in a moment, or use narrower filters. If the error stays, find \
                 out what keeps the server busy (pg_stat_activity).",
            ),
            (_, Some(ErrorKind::LockTimeout)) => (
                unavailable,
                "A table is locked",
                "A migration may be running: load the page again in a moment. If the error stays, \
                 find the session that holds the lock (pg_locks).",
            ),
            (_, Some(ErrorKind::Denied)) => (
                unavailable,
                "The console lacks a privilege",
                "Make the console's database user a member of bmdb_viewer, and have the owner run \
                 bmdb migrate grants.",
            ),
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Unexpected database error",
                "If a newer bmdb migrated the database, run a console of the same version; otherwise \
                 please report this as a bug.",
            ),
        };
        tracing::warn!(%error, %status, "cannot read a page");
        let reason = error.to_string();
        Self {
            status,
            title,
            reason,
            advice,
        }
    }
}
