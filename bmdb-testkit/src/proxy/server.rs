//! The server behind a proxy.

use crate::TestkitError;
use crate::socket::{self, PORT};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// A TCP or unix stream.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

#[derive(Debug)]
pub(super) enum Server {
    /// All addresses of one host name.
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

impl Server {
    pub(super) async fn of(config: &Config) -> Result<Self, TestkitError> {
        let port = match config.get_ports() {
            [] => PORT,
            [port] => *port,
            ports => return no_target(format!("it names {} ports; name one", ports.len())),
        };
        match (config.get_hosts(), config.get_hostaddrs()) {
            ([], []) => no_target("it names no host"),
            ([] | [_], [address]) => Ok(Self::Tcp(vec![SocketAddr::from((*address, port))])),
            ([Host::Unix(folder)], []) => Ok(Self::Unix(socket::path(folder, port))),
            ([Host::Tcp(name)], []) => match lookup_host((name.as_str(), port)).await {
                Ok(found) => Ok(Self::Tcp(found.collect())),
                Err(error) => no_target(format!("its host {name} cannot be resolved: {error}")),
            },
            (hosts, addresses) => no_target(format!(
                "it names {} hosts; name one",
                hosts.len().max(addresses.len())
            )),
        }
    }

    pub(super) async fn connect(&self) -> io::Result<Box<dyn Socket>> {
        Ok(match self {
            Self::Tcp(addresses) => {
                let stream = TcpStream::connect(addresses.as_slice()).await?;
                // As every PostgreSQL client does; otherwise small messages wait for others.
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Unix(socket) => Box::new(UnixStream::connect(socket).await?),
        })
    }
}

fn no_target<T>(reason: impl Into<String>) -> Result<T, TestkitError> {
    let reason = reason.into();
    Err(TestkitError::NoTarget { reason })
}
