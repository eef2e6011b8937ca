//! Context of a command: its output, its connections, and who handles Ctrl-C.

use crate::connect;
use crate::failure::Failure;
use crate::global::Global;
use crate::output::Output;
use bmdb_core::{Bmdb, Config, Reader, Session, SessionOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, OnceCell};

pub(crate) struct Context {
    pub(crate) output: Output,
    /// How often `-v` is given.
    pub(crate) verbose: u8,
    /// Builds the definition of the command line.
    pub(crate) cli: fn() -> clap::Command,
    database_url: Option<String>,
    bmdb: OnceCell<Bmdb>,
    reader: OnceCell<Reader>,
    handles_signals: AtomicBool,
    interrupt: Arc<Notify>,
}

impl Context {
    pub(crate) fn new(global: &Global, cli: fn() -> clap::Command) -> Self {
        Self {
            output: Output::new(global),
            verbose: global.verbose,
            cli,
            database_url: global.database_url.clone(),
            bmdb: OnceCell::new(),
            reader: OnceCell::new(),
            handles_signals: AtomicBool::new(false),
            interrupt: Arc::default(),
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

    /// Called by a command that handles Ctrl-C itself from now on.
    pub(crate) fn handle_signals(&self) {
        self.handles_signals.store(true, Ordering::Relaxed);
    }

    /// For a command that handles Ctrl-C itself: waits for it.
    pub(crate) fn ctrl_c(&self) -> impl Future<Output = ()> + use<> {
        self.handle_signals();
        let interrupt = self.interrupt.clone();
        async move { interrupt.notified().await }
    }

    /// For a service: waits for Ctrl-C or SIGTERM.
    ///
    /// # Errors
    /// When the operating system refuses to deliver SIGTERM.
    pub(crate) fn stopped(&self) -> Result<impl Future<Output = ()> + use<>, Failure> {
        let terminate = signal(SignalKind::terminate());
        let mut terminate = terminate
            .map_err(|error| Failure::other(format!("cannot listen for signals: {error}")))?;
        let ctrl_c = self.ctrl_c();
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                () = ctrl_c => {}
            }
        })
    }

    /// Waits for Ctrl-C. Once the command handles it itself, passes it on to the command instead.
    pub(crate) async fn interrupted(&self) {
        loop {
            if tokio::signal::ctrl_c().await.is_err() {
                // Not delivered, so that Ctrl-C still ends the program by default.
                std::future::pending().await
            }
            if !self.handles_signals.load(Ordering::Relaxed) {
                return;
            }
            // Stored until the command waits for it.
            self.interrupt.notify_one();
        }
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
