//! The connections of a run, and what is known about their server.

use crate::TestkitError;
use crate::connect::{connect, connect_over, rows};
use crate::lock::lock;
use crate::timeout::timeout;
use std::collections::HashSet;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use tokio_postgres::{Client, Config};

/// A connection, and what is known about its server.
#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) client: Client,
    /// The server's major version.
    pub(super) major: u32,
    /// Templates that are known to be complete.
    pub(super) templates: Mutex<HashSet<String>>,
}

/// The connections of a run. They are never closed, because they show that the run is alive.
#[derive(Debug, Default)]
pub(super) struct Pool {
    all: Mutex<Vec<Arc<Pooled>>>,
    idle: Mutex<Vec<Arc<Pooled>>>,
}

impl Pool {
    pub(super) fn pop(&self) -> Option<Arc<Pooled>> {
        let mut idle = lock(&self.idle);
        // The server may have closed some.
        idle.retain(|connection| !connection.client.is_closed());
        idle.pop()
    }

    pub(super) fn push(&self, connection: Arc<Pooled>) {
        lock(&self.idle).push(connection);
    }

    /// Whether one of them is open, which shows that the server runs.
    pub(super) fn is_connected(&self) -> bool {
        let mut all = lock(&self.all);
        all.retain(|connection| !connection.client.is_closed());
        !all.is_empty()
    }

    /// Opens a new connection, over this stream if that still works.
    pub(super) async fn connect(
        &self,
        config: &Config,
        stream: Option<UnixStream>,
    ) -> Result<Arc<Pooled>, TestkitError> {
        let client = match stream {
            // The server closes a stream over which it has received nothing for a minute.
            Some(stream) => match connect_over(stream, config).await {
                Ok(client) => client,
                Err(_) => connect(config).await?,
            },
            None => connect(config).await?,
        };
        // A timeout for a server that hangs, and for another process that holds a lock.
        let limit = timeout().as_millis();
        let set = format!("SET statement_timeout = '{limit}ms'; SHOW server_version_num");
        let answer = rows(&client, &set).await?;
        let version = answer.first().and_then(|row| row.get(0)?.parse().ok());
        let connection = Arc::new(Pooled {
            client,
            major: version.unwrap_or(0_u32) / 10_000,
            templates: Mutex::default(),
        });
        lock(&self.all).push(connection.clone());
        Ok(connection)
    }
}
