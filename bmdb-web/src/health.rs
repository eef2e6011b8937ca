//! Readiness: whether the database can be read, and has a schema that fits.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bmdb_core::{Reader, TxError};
use bmdb_model::migration::{self, MigrationError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long a check waits for the database.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long a result is cached. Every client may ask, and must not load the database.
const CACHED: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    reader: Reader,
    latest: Arc<Mutex<Option<(Instant, Ready)>>>,
}

/// `Err` says why not. Every client sees it, so it contains neither the database's address nor its error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready(Result<(), &'static str>);

impl Readiness {
    pub(crate) fn of(reader: Reader) -> Self {
        Self {
            reader,
            latest: Arc::default(),
        }
    }

    pub(crate) async fn now(&self) -> Ready {
        // The lock is held during the check: concurrent requests wait for it and share its result.
        let mut latest = self.latest.lock().await;
        match *latest {
            Some((at, ready)) if at.elapsed() < CACHED => ready,
            _ => {
                let ready = Ready(self.check().await);
                *latest = Some((Instant::now(), ready));
                ready
            }
        }
    }

    async fn check(&self) -> Result<(), &'static str> {
        let check = self
            .reader
            .read(async |conn| Ok(migration::check(conn).await));
        let Ok(checked) = timeout(TIMEOUT, check).await else {
            return Err("the database did not answer within 2 s");
        };
        match checked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(MigrationError::DatabaseTooOld { .. })) => {
                Err("the database is not migrated: run bmdb migrate up")
            }
            Ok(Err(MigrationError::ComponentTooOld { .. })) => {
                Err("the database needs a newer version of this program: install a newer one")
            }
            Ok(Err(error)) => Err(failing(&error)),
            Err(TxError::Unavailable(error)) => {
                tracing::debug!(%error, "not ready");
                Err("the database cannot be reached")
            }
            Err(error) => Err(failing(&error)),
        }
    }
}

fn failing(error: &dyn std::error::Error) -> &'static str {
    tracing::warn!(%error, "cannot read the database");
    "the database cannot be read; see the log of this program"
}

impl IntoResponse for Ready {
    fn into_response(self) -> Response {
        let (status, body) = match self.0 {
            Ok(()) => (StatusCode::OK, "{\"ready\":true}\n".to_owned()),
            Err(reason) => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{{\"ready\":false,\"reason\":\"{reason}\"}}\n"),
            ),
        };
        (status, [(CONTENT_TYPE, "application/json")], body).into_response()
    }
}
