//! What a command runs in: where it prints, and the connections that it asks for.

use crate::connect;
use crate::failure::Failure;
use crate::global::Global;
use crate::output::Output;
use bmdb_core::{Bmdb, Config, Reader, Session, SessionOptions};
use std::time::Duration;
use tokio::sync::OnceCell;

pub(crate) struct Context {
    pub(crate) output: Output,
    /// How much is to be told on standard error.
    pub(crate) verbose: u8,
    database_url: Option<String>,
    bmdb: OnceCell<Bmdb>,
    reader: OnceCell<Reader>,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            output: Output::new(global),
            verbose: global.verbose,
            database_url: global.database_url.clone(),
            bmdb: OnceCell::new(),
            reader: OnceCell::new(),
        }
    }

    /// How the database is connected to: a component that runs no janitor.
    pub(crate) fn config(&self) -> Config {
        connect::config(self.database_url.as_deref())
    }

    /// What it takes to say more about a failed connection.
    pub(crate) fn explain(&self, error: impl Into<Failure>) -> Failure {
        connect::explain(error.into(), self.database_url.is_some())
    }

    /// For reads: no session, nothing in the background; connected at the first call.
    pub(crate) async fn reader(&self) -> Result<&Reader, Failure> {
        let connect = || async { Reader::connect(self.config()).await };
        let reader = self.reader.get_or_try_init(connect).await;
        reader.map_err(|error| self.explain(error))
    }

    /// A component, for what needs no session; connected at the first call. Accepts a database that is
    /// not migrated.
    pub(crate) async fn bmdb(&self) -> Result<&Bmdb, Failure> {
        let connect = || async { Bmdb::connect(self.config()).await };
        let bmdb = self.bmdb.get_or_try_init(connect).await;
        bmdb.map_err(|error| self.explain(error))
    }

    /// A session for verbs that write. It is closed with the program.
    pub(crate) async fn session(&self) -> Result<Session, Failure> {
        let session = self.bmdb().await?.start_session(SessionOptions::default());
        Ok(session.await?)
    }

    /// Closes a session whose work is done. That it could not be closed does not make what was committed
    /// a failure: it expires.
    pub(crate) async fn close_session(&self, session: Session) {
        if let Err(error) = session.close().await {
            tracing::debug!(%error, "closing the session");
        }
    }

    /// Closes what was opened, however the command ended.
    pub(crate) async fn close(&self) {
        if let Some(bmdb) = self.bmdb.get()
            && let Err(error) = bmdb.drain(Duration::ZERO).await
        {
            tracing::debug!(%error, "closing");
        }
    }
}
