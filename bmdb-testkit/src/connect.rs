//! Connecting to a server with tokio-postgres.

use crate::TestkitError;
use crate::wait::within_timeout;
use std::io;
use std::os::unix::net::UnixStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{Client, Config, Connection, NoTls, SimpleQueryMessage, SimpleQueryRow};

/// Connects, and drives the connection on the current runtime.
pub(crate) async fn connect(config: &Config) -> Result<Client, TestkitError> {
    let connecting = within_timeout("the server to answer", config.connect(NoTls));
    let (client, connection) = connecting.await??;
    drive(connection);
    Ok(client)
}

/// The same over a stream that is already open.
pub(crate) async fn connect_over(stream: UnixStream, config: &Config) -> io::Result<Client> {
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let connecting = within_timeout("the server to answer", config.connect_raw(stream, NoTls));
    let connected = connecting.await.map_err(io::Error::other)?;
    let (client, connection) = connected.map_err(io::Error::other)?;
    drive(connection);
    Ok(client)
}

/// The rows of one or more statements, without their column descriptions and row counts.
pub(crate) async fn rows(
    client: &Client,
    sql: &str,
) -> Result<Vec<SimpleQueryRow>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.collect())
}

fn drive<S, T>(connection: Connection<S, T>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        // The client's next call reports the error.
        let _ = connection.await;
    });
}
