//! The keeper's connections, and what is known about their server.

use super::lock;
use crate::TestkitError;
use crate::limit::{limit, within_limit};
use std::collections::HashSet;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{Client, Config, Connection, NoTls, SimpleQueryMessage};

/// A connection and what is known about its server.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) client: Client,
    pub(super) major: u32,
    templates: Mutex<HashSet<String>>,
}

impl Known {
    pub(super) fn knows(&self, template: &str) -> bool {
        lock(&self.templates).contains(template)
    }

    pub(super) fn remember(&self, template: &str) {
        lock(&self.templates).insert(template.to_owned());
    }
}

/// A run's connections. They are never closed: they say that it lives.
#[derive(Debug, Default)]
pub(super) struct Pool {
    all: Mutex<Vec<Arc<Known>>>,
    /// Those that nobody uses just now.
    idle: Mutex<Vec<Arc<Known>>>,
}

impl Pool {
    pub(super) fn pop(&self) -> Option<Arc<Known>> {
        let mut idle = lock(&self.idle);
        // One that the server has closed is of no use to anybody.
        idle.retain(|known| !known.client.is_closed());
        idle.pop()
    }

    pub(super) fn push(&self, known: Arc<Known>) {
        lock(&self.idle).push(known);
    }

    /// Whether one of them is open, so that the server certainly lives.
    pub(super) fn is_connected(&self) -> bool {
        let mut all = lock(&self.all);
        all.retain(|known| !known.client.is_closed());
        !all.is_empty()
    }

    /// A new one.
    pub(super) async fn connect(
        &self,
        config: &Config,
        stream: Option<UnixStream>,
    ) -> Result<Arc<Known>, TestkitError> {
        let known = know(config, stream).await?;
        lock(&self.all).push(known.clone());
        Ok(known)
    }
}

/// Connects, over this stream if it is any good.
async fn know(config: &Config, stream: Option<UnixStream>) -> Result<Arc<Known>, TestkitError> {
    let client = match stream {
        // The server closes a stream over which it has heard nothing for a minute.
        Some(stream) => match connect_over(stream, config).await {
            Ok(client) => client,
            Err(_) => connect(config).await?,
        },
        None => connect(config).await?,
    };
    // A server that hangs, or another process that holds a lock, is not waited for without end.
    let limit = limit().as_millis();
    let ask = format!("SET statement_timeout = '{limit}ms'; SHOW server_version_num");
    let answer = client.simple_query(&ask).await?;
    let version = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse::<u32>().ok(),
        _ => None,
    });
    Ok(Arc::new(Known {
        client,
        major: version.unwrap_or_default() / 10_000,
        templates: Mutex::default(),
    }))
}

/// Connects and drives the connection on the current runtime.
pub(crate) async fn connect(config: &Config) -> Result<Client, TestkitError> {
    let connecting = within_limit("the server to answer", config.connect(NoTls));
    let (client, connection) = connecting.await??;
    drive(connection);
    Ok(client)
}

async fn connect_over(stream: UnixStream, config: &Config) -> io::Result<Client> {
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let connecting = within_limit("the server to answer", config.connect_raw(stream, NoTls));
    let connected = connecting.await.map_err(io::Error::other)?;
    let (client, connection) = connected.map_err(io::Error::other)?;
    drive(connection);
    Ok(client)
}

fn drive<S, T>(connection: Connection<S, T>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        // The client's next call reports it.
        let _ = connection.await;
    });
}
