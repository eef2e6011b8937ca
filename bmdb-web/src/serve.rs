//! Server: listens, limits connections, and shuts down gracefully.

mod base_path;
mod connection;
mod options;

pub use self::options::{ServeError, ServeOptions};

use self::base_path::BasePath;
use self::connection::Connections;
use self::options::is_loopback;
use crate::guard::{ConnectionLimit, Full, Guard, Slot, Tls};
use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long a new connection waits before it looks again for one that makes room.
const RETRY: Duration = Duration::from_millis(20);

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
    base_path: BasePath,
    options: ServeOptions,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Reads the TLS files and starts to listen.
    ///
    /// # Errors
    /// Every variant of [`ServeError`].
    pub async fn bind(options: ServeOptions) -> Result<Self, ServeError> {
        options.check()?;
        let base_path = options.parse_base_path()?;
        let tls = options.tls.clone().map(Tls::read).transpose()?;
        let failed = |reason| ServeError::Listen {
            address: options.listen,
            reason,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !is_loopback(address.ip()) && tls.is_none() {
            tracing::warn!(%address, "without TLS everything is sent unencrypted, including the token");
        }
        Ok(Self {
            listener,
            address,
            tls,
            base_path,
            options,
        })
    }

    /// The address it listens on, with the actual port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for browsers, with the base path.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}/", self.address, self.base_path.as_str())
    }

    /// Serves these routes until `end` resolves. Then it stops listening, and waits up to
    /// [`ServeOptions::shutdown_timeout`] for requests under way.
    ///
    /// Cancellation: all connections are closed at once.
    pub async fn run(self, routes: Router, end: impl Future<Output = ()>) {
        let options = self.options;
        let mut guard = Guard::new(options.token, options.response_timeout);
        if is_loopback(self.address.ip()) {
            guard = guard.on_loopback(options.allowed_hosts);
        }
        let connections = Arc::new(Connections {
            routes: guard.protect(routes),
            tls: self.tls,
            base_path: self.base_path,
            response_timeout: options.response_timeout,
            client_timeout: options.client_timeout,
        });
        let mut limit =
            ConnectionLimit::new(options.max_connections, options.max_connections_per_client);
        let shutdown = GracefulShutdown::new();
        let mut tasks = JoinSet::new();
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                () = &mut end => break,
                Some(_) = tasks.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let client = peer.ip();
                    // Further clients wait in the listener's queue.
                    let slot = tokio::select! {
                        () = &mut end => break,
                        slot = slot(&mut limit, client) => slot,
                    };
                    let Some(slot) = slot else {
                        tracing::debug!(%client, "connection closed: the client has too many");
                        continue;
                    };
                    let (connections, watcher) = (connections.clone(), shutdown.watcher());
                    tasks.spawn(async move {
                        tokio::select! {
                            () = connections.serve(stream, client, slot.clone(), watcher) => {}
                            () = slot.evicted() => {
                                tracing::debug!(%client, "connection closed: another one needs its place");
                            }
                        }
                    });
                    // Every connection gets a turn to read its request before the next one is accepted.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    // Either this connection failed, or the process has too many open files.
                    tracing::debug!(%error, "cannot accept a connection");
                    if has_too_many_files(&error) {
                        limit.make_room();
                    }
                    sleep(RETRY).await;
                }
            }
        }
        drop(self.listener);
        if timeout(options.shutdown_timeout, shutdown.shutdown())
            .await
            .is_err()
        {
            tracing::debug!("connections closed with requests under way");
        }
    }
}

/// EMFILE and ENFILE, which have these numbers on every Unix.
fn has_too_many_files(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23))
}

/// A place for a connection of this client, after a wait if all connections are in use. `None` if the client
/// has too many.
async fn slot(limit: &mut ConnectionLimit, client: IpAddr) -> Option<Arc<Slot>> {
    loop {
        match limit.take(client) {
            Ok(slot) => return Some(slot),
            Err(Full::Client) => return None,
            Err(Full::Total) => sleep(RETRY).await,
        }
    }
}
