//! State of all routes: the reader, the addresses, the options and the known tag tables.

use crate::error::HttpError;
use crate::link::Links;
use crate::moment::Moment;
use crate::sampler::Sampler;
use bmdb_core::{ConnBody, Reader, TxError};
use bmdb_model::connection::{self, AsyncPgConnection};
use bmdb_model::custom_tags::{self, TagTable};
use bmdb_model::process_control::{self, Pause};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App {
    reader: Reader,
    pub(crate) links: Arc<Links>,
    pub(crate) refresh: Duration,
    /// Counts of the whole fleet; `None` hides them.
    pub(crate) sampler: Option<Sampler>,
    tag_tables: Arc<Mutex<Option<(Instant, TagTables)>>>,
    /// What was paused when a page was read last, for the banner of every page.
    pauses: Arc<Mutex<Arc<[Pause]>>>,
}

pub(crate) type TagTables = Arc<[TagTable]>;

/// How long the list of tag tables is cached. Only migrations change it.
const TAG_TABLES_CACHED: Duration = Duration::from_secs(10);

impl App {
    pub(crate) fn new(reader: Reader, base_path: &str, refresh: Duration) -> Self {
        Self {
            reader,
            links: Arc::new(Links::under(base_path)),
            refresh,
            sampler: None,
            tag_tables: Arc::default(),
            pauses: Arc::new(Mutex::new(Arc::from([]))),
        }
    }

    /// The pauses in force when a page was read last.
    pub(crate) fn pauses(&self) -> Arc<[Pause]> {
        Arc::clone(&locked(&self.pauses))
    }

    /// The tag tables of the database, from the cache or read again.
    pub(crate) async fn tag_tables(
        &self,
        conn: &mut AsyncPgConnection,
    ) -> Result<TagTables, TxError> {
        let cached = locked(&self.tag_tables).clone();
        if let Some((read_at, tables)) = cached
            && read_at.elapsed() < TAG_TABLES_CACHED
        {
            return Ok(tables);
        }
        let tables: TagTables = custom_tags::tables(conn).await?.into();
        *locked(&self.tag_tables) = Some((Instant::now(), Arc::clone(&tables)));
        Ok(tables)
    }

    /// Reads everything that one page shows, in one read-only transaction.
    pub(crate) async fn read<T, F>(&self, body: F) -> Result<(Moment, T), HttpError>
    where
        F: ConnBody<T>,
        T: Send,
    {
        let begun = Instant::now();
        let body = &body;
        let read = self.reader.read(async |conn| {
            let at = connection::now(conn).await?;
            let pauses = process_control::pauses(conn).await?;
            Ok((at, pauses, body(conn).await?))
        });
        let (at, pauses, value) = read.await?;
        *locked(&self.pauses) = pauses.into();
        let took = begun.elapsed();
        Ok((Moment { at, took }, value))
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    // The value is replaced in one step, so a poisoned lock is still consistent.
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
