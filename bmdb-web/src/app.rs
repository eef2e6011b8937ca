//! What the pages share: the reader, the links, the choices.

use crate::console::ConsoleOptions;
use crate::link::Links;
use crate::page::{Page, layout};
use crate::problem::Problem;
use axum::response::Response;
use bmdb_core::{Reader, TxError, TxFn};
use bmdb_model::connection::{self, AsyncPgConnection};
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The state of every route. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reader: Reader,
    links: Links,
    refresh: Duration,
}

/// When a page's facts were read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// By the database's clock.
    pub(crate) at: DateTime<Utc>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl App {
    pub(crate) fn new(reader: Reader, options: ConsoleOptions) -> Self {
        Self(Arc::new(Shared {
            reader,
            links: Links::under(&options.base_path),
            refresh: options.refresh,
        }))
    }

    pub(crate) fn links(&self) -> &Links {
        &self.0.links
    }

    pub(crate) fn refresh(&self) -> Duration {
        self.0.refresh
    }

    /// Everything that one page shows, as of one moment.
    pub(crate) async fn read<T, F>(&self, body: F) -> Result<(Moment, T), Problem>
    where
        F: for<'r> TxFn<&'r mut AsyncPgConnection, Result<T, TxError>, Fut: Send> + Sync,
        T: Send,
    {
        let begun = Instant::now();
        let body = &body;
        let read = self.0.reader.read(async |conn| {
            let at = connection::now(conn).await?;
            Ok((at, body(conn).await?))
        });
        let (at, value) = read.await?;
        let took = begun.elapsed();
        Ok((Moment { at, took }, value))
    }

    pub(crate) fn render(&self, shown: Result<Page, Problem>) -> Response {
        let page = shown.unwrap_or_else(Problem::into_page);
        layout::respond(self, page)
    }
}
