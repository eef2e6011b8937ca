//! Options of a server, and why it does not start.

use super::base_path::BasePath;
use crate::guard::{TlsError, TlsFiles, Token};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How a [`Server`](crate::Server) listens, and which clients it answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServeOptions {
    /// The address to listen on; port 0 is any free port. Default: 127.0.0.1, port 8717.
    ///
    /// Other machines can reach every address but a loopback one, so other addresses need a token or
    /// client certificates.
    pub listen: SocketAddr,
    /// Bearer token required of clients. Default: none.
    pub token: Option<Token>,
    /// TLS files. Default: none, and no encryption.
    pub tls: Option<TlsFiles>,
    /// Further host names that a server on a loopback address answers to, such as that of a proxy in front
    /// of it. Default: none.
    pub allowed_hosts: Vec<String>,
    /// The path below which a reverse proxy shows the server, such as `/fleet`. Default: the root.
    ///
    /// It is removed from the addresses of requests, or the proxy has removed it: both are answered. The
    /// routes must link to addresses below it ([`ConsoleOptions::base_path`](crate::ConsoleOptions)).
    pub base_path: String,
    /// The maximum number of connections. For a further one, the server closes the connection that matters
    /// least: one without a token, otherwise one that is idle. While all are in use, further ones wait.
    /// Default: 256.
    pub max_connections: usize,
    /// The maximum number of connections of one client. A further one replaces another one of that client,
    /// or is closed if all are in use. Default: 64, a quarter of all, so that one client cannot block the
    /// others.
    ///
    /// A client is an IPv4 address or an IPv6 network (/64). All users behind a reverse proxy have the
    /// proxy's address: set this to [`ServeOptions::max_connections`] there.
    pub max_connections_per_client: usize,
    /// How long the server may take to make a response. Default: 15 s.
    pub response_timeout: Duration,
    /// How long a client may take to send a request's head, to read a part of the response, and to send
    /// the next request. Default: 10 s.
    pub client_timeout: Duration,
    /// How long the server waits for requests under way when it shuts down. Default: 5 s.
    pub shutdown_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8717)),
            token: None,
            tls: None,
            allowed_hosts: Vec::new(),
            base_path: String::new(),
            max_connections: 256,
            max_connections_per_client: 64,
            response_timeout: Duration::from_secs(15),
            client_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(5),
        }
    }
}

impl ServeOptions {
    /// Refuses an address that other machines can reach without a token or client certificates.
    pub(super) fn check(&self) -> Result<(), ServeError> {
        let tls = self.tls.as_ref();
        let needs_certificates = tls.is_some_and(|files| files.client_authorities.is_some());
        if is_loopback(self.listen.ip()) || self.token.is_some() || needs_certificates {
            return Ok(());
        }
        Err(ServeError::Open(self.listen))
    }

    pub(super) fn parse_base_path(&self) -> Result<BasePath, ServeError> {
        let parsed = BasePath::new(&self.base_path);
        parsed.map_err(|reason| ServeError::InvalidBasePath {
            path: self.base_path.clone(),
            reason,
        })
    }
}

pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Other machines could reach the address and read everything.
    #[error(
        "other machines can reach {0} and would see everything: require a token (--token-file) or client \
         certificates (--tls-cert, --tls-key, --client-ca), or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// The base path cannot be used.
    #[error("invalid base path {path:?}: {reason} (expected a path such as /fleet)")]
    InvalidBasePath {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The address cannot be used.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error.
        #[source]
        reason: std::io::Error,
    },
    /// A TLS file cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}
