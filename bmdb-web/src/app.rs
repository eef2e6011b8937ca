//! What the pages share: the reader, the links, the choices.

use crate::console::ConsoleOptions;
use crate::error::Problem;
use crate::link::Links;
use crate::page::{Page, layout};
use crate::sample::{Latest, Sampler};
use axum::response::Response;
use bmdb_core::{ConnBody, Reader, TxError};
use bmdb_model::connection::{self, AsyncPgConnection};
use bmdb_model::custom_tags::{self, TagTable};
use chrono::{DateTime, Utc};
use std::sync::{Arc, Mutex, PoisonError};
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
    sampler: Option<Sampler>,
    /// The tag tables, and when they were looked for.
    tag_tables: Mutex<Option<(Instant, TagTables)>>,
}

/// The tag tables there are.
pub(crate) type TagTables = Arc<[TagTable]>;

/// For how long the tag tables are taken to be the same ones: they change with migrations only.
const TAG_TABLES_KEPT: Duration = Duration::from_secs(10);

/// When a page's facts were read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// By the database's clock.
    pub(crate) at: DateTime<Utc>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl App {
    pub(crate) fn new(reader: Reader, options: &ConsoleOptions) -> Self {
        Self(Arc::new(Shared {
            reader,
            links: Links::under(&options.base_path),
            refresh: options.refresh,
            sampler: None,
            tag_tables: Mutex::new(None),
        }))
    }

    /// The same with other counts.
    pub(crate) fn with_sampler(self, sampler: Sampler) -> Self {
        Self(Arc::new(Shared {
            reader: self.0.reader.clone(),
            links: self.0.links.clone(),
            refresh: self.0.refresh,
            sampler: Some(sampler),
            tag_tables: Mutex::new(None),
        }))
    }

    pub(crate) fn links(&self) -> &Links {
        &self.0.links
    }

    pub(crate) fn refresh(&self) -> Duration {
        self.0.refresh
    }

    /// What was counted last; `None` where nothing is.
    pub(crate) fn counted(&self) -> Option<Latest> {
        self.0.sampler.as_ref().map(Sampler::latest)
    }

    /// The tag tables, looked for anew after a while.
    pub(crate) async fn tag_tables(
        &self,
        conn: &mut AsyncPgConnection,
    ) -> Result<TagTables, TxError> {
        let kept = self.kept_tag_tables().clone();
        if let Some((found, tables)) = kept
            && found.elapsed() < TAG_TABLES_KEPT
        {
            return Ok(tables);
        }
        let tables: TagTables = custom_tags::tables(conn).await?.into();
        *self.kept_tag_tables() = Some((Instant::now(), Arc::clone(&tables)));
        Ok(tables)
    }

    fn kept_tag_tables(&self) -> std::sync::MutexGuard<'_, Option<(Instant, TagTables)>> {
        // Whoever panicked with it has left something whole.
        let kept = self.0.tag_tables.lock();
        kept.unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that one page shows, as of one moment.
    pub(crate) async fn read<T, F>(&self, body: F) -> Result<(Moment, T), Problem>
    where
        F: ConnBody<T>,
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
