//! Whether this program lives, and whether it can answer.

use axum::http::StatusCode;
use bmdb_core::{Reader, TxError};
use bmdb_model::migration::{self, MigrationError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long the database is waited for.
const LIMIT: Duration = Duration::from_secs(2);

/// For how long an answer is good: anybody may ask, and the database is not to feel it.
const KEPT: Duration = Duration::from_secs(1);

/// Whether a database can be read from, asked once a second at most.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    reader: Reader,
    known: Arc<Mutex<Option<(Instant, Ready)>>>,
}

/// What is told to anybody, so it names no server and no error of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    Yes,
    Unreachable,
    Silent,
    Unmigrated,
    TooNew,
    Failing,
}

impl Readiness {
    pub(crate) fn of(reader: Reader) -> Self {
        Self {
            reader,
            known: Arc::default(),
        }
    }

    pub(crate) async fn now(&self) -> Ready {
        // Whoever asks meanwhile waits for this answer and takes it.
        let mut known = self.known.lock().await;
        match *known {
            Some((at, ready)) if at.elapsed() < KEPT => ready,
            _ => {
                let ready = self.look().await;
                *known = Some((Instant::now(), ready));
                ready
            }
        }
    }

    async fn look(&self) -> Ready {
        let check = self
            .reader
            .read(async |conn| Ok(migration::check(conn).await));
        match timeout(LIMIT, check).await {
            Ok(Ok(Ok(()))) => Ready::Yes,
            Ok(Ok(Err(MigrationError::DatabaseTooOld { .. }))) => Ready::Unmigrated,
            Ok(Ok(Err(MigrationError::ComponentTooOld { .. }))) => Ready::TooNew,
            Ok(Ok(Err(error))) => failing(&error),
            Ok(Err(TxError::Unavailable(error))) => {
                tracing::debug!(%error, "not ready");
                Ready::Unreachable
            }
            Ok(Err(error)) => failing(&error),
            Err(_) => Ready::Silent,
        }
    }
}

fn failing(error: &dyn std::error::Error) -> Ready {
    tracing::warn!(%error, "the database cannot be read");
    Ready::Failing
}

impl Ready {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Yes => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// JSON, with a reason that people understand.
    pub(crate) const fn body(self) -> &'static str {
        match self {
            Self::Yes => "{\"ready\":true}\n",
            Self::Unreachable => {
                "{\"ready\":false,\"reason\":\"the database cannot be reached\"}\n"
            }
            Self::Silent => {
                "{\"ready\":false,\"reason\":\"the database did not answer within 2 s\"}\n"
            }
            Self::Unmigrated => {
                "{\"ready\":false,\"reason\":\"the database is not migrated: run bmdb migrate up\"}\n"
            }
            Self::TooNew => {
                "{\"ready\":false,\"reason\":\"the database has moved past this program: install a \
                 newer one\"}\n"
            }
            Self::Failing => {
                "{\"ready\":false,\"reason\":\"the database cannot be read; this program's log says \
                 why\"}\n"
            }
        }
    }
}
