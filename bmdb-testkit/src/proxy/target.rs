//! The server before which a proxy stands, and the two ends of a connection.

use crate::TestkitError;
use crate::socket::{self, PORT};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

#[derive(Debug)]
pub(super) enum Target {
    /// All addresses of one name.
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

impl Target {
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
                Err(error) => no_target(format!("its host {name} cannot be found: {error}")),
            },
            (hosts, addresses) => no_target(format!(
                "it names {} hosts, and a proxy stands before one server; name one",
                hosts.len().max(addresses.len())
            )),
        }
    }

    pub(super) async fn connect(&self) -> io::Result<Ends> {
        match self {
            Self::Tcp(addresses) => Ends::tcp(TcpStream::connect(addresses.as_slice()).await?),
            Self::Unix(socket) => Ok(Ends::unix(UnixStream::connect(socket).await?)),
        }
    }
}

fn no_target<T>(reason: impl Into<String>) -> Result<T, TestkitError> {
    let reason = reason.into();
    Err(TestkitError::NoTarget { reason })
}

/// What comes out of a socket, and what goes in. The socket is closed when both are dropped.
pub(super) struct Ends {
    pub(super) from: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) to: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Ends {
    pub(super) fn tcp(stream: TcpStream) -> io::Result<Self> {
        // As every client of PostgreSQL sets it; otherwise small messages would wait for others.
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        Ok(Self {
            from: Box::new(from),
            to: Box::new(to),
        })
    }

    pub(super) fn unix(stream: UnixStream) -> Self {
        let (from, to) = stream.into_split();
        Self {
            from: Box::new(from),
            to: Box::new(to),
        }
    }
}
