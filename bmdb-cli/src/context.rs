//! Context of a command: its output, its connections, and its signals.

use crate::connect;
use crate::failure::Failure;
use crate::global::Global;
use crate::output::Output;
use crate::reaper::Reaper;
use crate::signals::Signals;
use bmdb_core::{Bmdb, Config, Reader, Session, SessionOptions};
use std::time::Duration;
use tokio::sync::OnceCell;

pub(crate) struct Context {
    pub(crate) output: Output,
    /// How often `-v` is given.
    pub(crate) verbose: u8,
    /// Builds the definition of the command line.
    pub(crate) cli: fn() -> clap::Command,
    pub(crate) signals: Signals,
    pub(crate) reaper: Reaper,
    database_url: Option<String>,
    bmdb: OnceCell<Bmdb>,
    reader: OnceCell<Reader>,
}

impl Context {
    pub(crate) fn new(
        global: &Global,
        cli: fn() -> clap::Command,
        signals: Signals,
        reaper: Reaper,
    ) -> Self {
        Self {
            output: Output::new(global),
            verbose: global.verbose,
            cli,
            signals,
            reaper,
            database_url: global.database_url.clone(),
            bmdb: OnceCell::new(),
            reader: OnceCell::new(),
        }
    }

    /// The configuration of a component without a janitor.
    pub(crate) fn config(&self) -> Config {
        connect::config(self.database_url.as_deref())
    }

    /// The failure of a connection, with a hint where no database URL was given.
    pub(crate) fn explain(&self, error: impl Into<Failure>) -> Failure {
        connect::explain(error.into(), self.database_url.is_some())
    }

    /// A reader, which has no session and no background tasks. Connects at the first call.
    pub(crate) async fn reader(&self) -> Result<&Reader, Failure> {
        let connect = || async { Reader::connect(self.config()).await };
        let reader = self.reader.get_or_try_init(connect).await;
        reader.map_err(|error| self.explain(error))
    }

    /// A component without a session. Connects at the first call; accepts a database that is not migrated.
    pub(crate) async fn bmdb(&self) -> Result<&Bmdb, Failure> {
        let connect = || async { Bmdb::connect(self.config()).await };
        let bmdb = self.bmdb.get_or_try_init(connect).await;
        bmdb.map_err(|error| self.explain(error))
    }

    /// Writes in a session, which is closed afterwards. After an error [`Self::close`] closes it.
    pub(crate) async fn with_session<T, E>(
        &self,
        write: impl AsyncFnOnce(&Session) -> Result<T, E>,
    ) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        let session = self.bmdb().await?.start_session(SessionOptions::default());
        let session = session.await?;
        let written = write(&session).await?;
        close_session(session).await;
        Ok(written)
    }

    /// Closes what the command opened.
    pub(crate) async fn close(&self) {
        if let Some(bmdb) = self.bmdb.get()
            && let Err(error) = bmdb.drain(Duration::ZERO).await
        {
            tracing::debug!(%error, "closing");
        }
    }
}

/// Closes a session whose work is committed. An error is only logged: the session expires anyway.
pub(crate) async fn close_session(session: Session) {
    if let Err(error) = session.close().await {
        tracing::debug!(%error, "closing the session");
    }
}
