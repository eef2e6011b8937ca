//! A pooled connection to the administrative database.

use super::pool::{Pool, Pooled};
use crate::TestkitError;
use crate::lock::lock;
use std::ops::Deref;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;
use tokio_postgres::{Client, Config};

/// Dropping it returns the connection to the pool.
#[derive(Debug)]
pub(crate) struct Admin {
    connection: Arc<Pooled>,
    pool: Arc<Pool>,
    runtime: Handle,
    /// Whether the task of [`Admin::run_last`] returns the connection.
    is_passed_on: AtomicBool,
}

impl Admin {
    pub(super) fn idle(pool: &Arc<Pool>, runtime: &Handle) -> Option<Self> {
        let connection = pool.pop()?;
        Some(Self::lend(pool, connection, runtime))
    }

    /// A new connection, driven by the current runtime.
    pub(super) async fn new(
        pool: &Arc<Pool>,
        config: &Config,
        stream: Option<UnixStream>,
    ) -> Result<Self, TestkitError> {
        let connection = pool.connect(config, stream).await?;
        Ok(Self::lend(pool, connection, &Handle::current()))
    }

    fn lend(pool: &Arc<Pool>, connection: Arc<Pooled>, runtime: &Handle) -> Self {
        Self {
            connection,
            pool: pool.clone(),
            runtime: runtime.clone(),
            is_passed_on: AtomicBool::new(false),
        }
    }

    /// Runs a last statement in the background, after those that are in progress, and only then
    /// returns the connection to the pool.
    pub(crate) fn run_last(&self, sql: &'static str, parameter: i64) {
        if self.is_passed_on.swap(true, Ordering::Relaxed) {
            return;
        }
        let admin = Self::lend(&self.pool, self.connection.clone(), &self.runtime);
        self.runtime.spawn(async move {
            // A closed connection has nothing to undo.
            let _ = admin.execute(sql, &[&parameter]).await;
        });
    }

    /// The server's major version.
    pub(crate) fn major(&self) -> u32 {
        self.connection.major
    }

    /// Whether [`Admin::remember`] was called for this template.
    pub(crate) fn knows(&self, template: &str) -> bool {
        lock(&self.connection.templates).contains(template)
    }

    /// Remembers that this template is complete.
    pub(crate) fn remember(&self, template: &str) {
        lock(&self.connection.templates).insert(template.to_owned());
    }
}

impl Deref for Admin {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.connection.client
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        if !self.is_passed_on.load(Ordering::Relaxed) {
            self.pool.push(self.connection.clone());
        }
    }
}
