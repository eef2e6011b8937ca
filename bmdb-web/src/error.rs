//! Why there is no page to show, as a page that says what to do.

use crate::page::{Page, Section};
use axum::http::StatusCode;
use bmdb_core::TxError;
use bmdb_model::ErrorKind;
use maud::html;

/// What kept a page from being shown.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    title: &'static str,
    /// What is wrong, for people.
    reason: String,
    /// What to do about it.
    advice: String,
}

impl Problem {
    pub(crate) fn bad_input(what: &str, problem: impl AsRef<str>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "That cannot be shown",
            format!("{what}: {}", problem.as_ref()),
            "Correct the address, or start from one of the pages above.",
        )
    }

    /// The thing that the address names is not there.
    pub(crate) fn not_found(what: impl Into<String>, advice: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", what, advice)
    }

    pub(crate) fn no_page() -> Self {
        let advice = "Start from one of the pages above.";
        Self::not_found("There is no such page.", advice)
    }

    pub(crate) fn only_get() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "The console only shows",
            "Pages are there to be read: only GET and HEAD are answered.",
            "What changes something is a command of bmdb; see bmdb --help.",
        )
    }

    fn new(
        status: StatusCode,
        title: &'static str,
        reason: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            status,
            title,
            reason: reason.into(),
            advice: advice.into(),
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

/// What the database's refusal means for whoever looks at the page.
impl From<TxError> for Problem {
    fn from(error: TxError) -> Self {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let (status, title, advice) = match (&error, error.kind()) {
            (TxError::Unavailable(_), _) | (_, Some(ErrorKind::ConnectionLost)) => (
                unavailable,
                "The database does not answer",
                "Load the page again in a moment. If it stays so, see whether the server runs, \
                 whether this host reaches it, and whether its connections are used up.",
            ),
            (_, Some(ErrorKind::StatementTimeout)) => (
                unavailable,
                "The database is too slow",
                "Load the page again in a moment, or with narrower filters. If it stays so, look \
                 for what keeps the server busy (pg_stat_activity).",
            ),
            (_, Some(ErrorKind::LockTimeout)) => (
                unavailable,
                "A table is locked",
                "A migration may be running: load the page again in a moment. If it stays so, look \
                 for who holds the lock (pg_locks).",
            ),
            (_, Some(ErrorKind::Denied)) => (
                unavailable,
                "The console may not read this",
                "The console's database user lacks a privilege: make it a member of bmdb_viewer, \
                 and have the owner run bmdb migrate grants.",
            ),
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The database refused",
                "This is not foreseen. If the database was migrated by a newer bmdb, run a console \
                 of the same version; otherwise this is a bug.",
            ),
        };
        tracing::warn!(%error, %status, "a page could not be read");
        Self::new(status, title, error.to_string(), advice)
    }
}
