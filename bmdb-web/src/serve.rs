//! The server: where it listens, whom it lets in, and how it ends.

use crate::guard::{Client, Guard, Impatient, Shares, Tls, TlsError, TlsFiles, Token};
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::Layer;

/// A request's head, its target and its headers, in bytes and lines.
const LARGEST_HEAD: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;

/// How long a connection may last; then it ends after the request that is under way.
const LIFE: Duration = Duration::from_secs(300);

/// How a server listens, and whom it answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServeOptions {
    /// Where it listens; port 0 is any free one. Default: 127.0.0.1, port 8717.
    ///
    /// Other machines can reach any other address than a loopback one, so those need a token or
    /// certificates of clients.
    pub listen: SocketAddr,
    /// What whoever asks has to show. Default: nothing.
    pub token: Option<Token>,
    /// The files of TLS. Default: none, and no encryption.
    pub tls: Option<TlsFiles>,
    /// Further names that a server on a loopback address is asked by, such as that of a proxy before it.
    pub names: Vec<String>,
    /// How many connections there are at most; the next ones wait. Default: 256.
    pub connections: usize,
    /// How many of them one client may have; further ones of it are closed at once. Default: 64, a
    /// quarter of all, so that nobody keeps the others out.
    ///
    /// A client is an address, of IPv6 a network of them (/64). Everybody behind a reverse proxy has the
    /// proxy's address: give that as many as there are in all.
    pub connections_per_client: usize,
    /// How long an answer may take to be made. Default: 15 s.
    pub answer_time: Duration,
    /// How long a client may take to send its request's head, to read a part of the answer, and to send
    /// its next request. Default: 10 s.
    pub patience: Duration,
    /// How long requests that are under way are waited for at the end. Default: 5 s.
    pub farewell: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8717)),
            token: None,
            tls: None,
            names: Vec::new(),
            connections: 256,
            connections_per_client: 64,
            answer_time: Duration::from_secs(15),
            patience: Duration::from_secs(10),
            farewell: Duration::from_secs(5),
        }
    }
}

impl ServeOptions {
    fn asks_for_certificates(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|files| files.client_authorities.is_some())
    }

    /// What others could do who reach the address.
    fn check(&self) -> Result<(), ServeError> {
        let is_guarded = self.token.is_some() || self.asks_for_certificates();
        if is_loopback(self.listen.ip()) || is_guarded {
            return Ok(());
        }
        Err(ServeError::Open(self.listen))
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Anybody who reaches the address could read everything.
    #[error(
        "{0} can be reached from other machines, and whoever reaches it would see everything: give a \
         token (--token-file) or ask for certificates of clients (--tls-cert, --tls-key, --client-ca), \
         or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        reason: std::io::Error,
    },
    /// A file of TLS will not do.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
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
    /// Reads the files, and listens.
    ///
    /// # Errors
    /// Every variant of [`ServeError`].
    pub async fn bind(options: ServeOptions) -> Result<Self, ServeError> {
        options.check()?;
        let tls = options.tls.clone().map(Tls::read).transpose()?;
        let failed = |reason| ServeError::Listen {
            address: options.listen,
            reason,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !is_loopback(address.ip()) && tls.is_none() {
            tracing::warn!(%address, "what is sent is not encrypted, the token included: use TLS");
        }
        Ok(Self {
            listener,
            address,
            tls,
            options,
        })
    }

    /// Where it listens, with the port that was free.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same for browsers.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/", self.address)
    }

    /// Serves these routes until `end` resolves. Then nothing new is taken, and requests under way get
    /// [`ServeOptions::farewell`].
    ///
    /// Cancellation: connections are closed as they are.
    pub async fn run(self, routes: Router, end: impl Future<Output = ()>) {
        let ServeOptions {
            token,
            names,
            connections,
            connections_per_client,
            answer_time,
            patience,
            farewell,
            ..
        } = self.options;
        let mut guard = Guard::new(token, answer_time);
        if is_loopback(self.address.ip()) {
            guard = guard.on_loopback(names);
        }
        let (ending, ended) = watch::channel(false);
        let serving = Arc::new(Serving {
            routes: guard.protect(routes),
            tls: self.tls,
            patience,
            farewell,
            ended,
        });
        let places = Arc::new(Semaphore::new(connections));
        let shares = Shares::new(connections_per_client);
        let mut served = JoinSet::new();
        tokio::pin!(end);
        loop {
            let accepted = async {
                // Never closed.
                let place = places.clone().acquire_owned().await.ok();
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = &mut end => break,
                Some(_) = served.join_next() => continue,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let client = peer.ip();
                    let Some(share) = shares.take(client) else {
                        tracing::debug!(%client, "a connection is closed: its client has its share");
                        continue;
                    };
                    let serving = serving.clone();
                    served.spawn(async move {
                        serving.serve(stream, client).await;
                        drop((share, place));
                    });
                }
                Err(error) => {
                    // Of one connection, or of all: no file can be opened for a moment.
                    tracing::debug!(%error, "a connection was not accepted");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.listener);
        ending.send_replace(true);
        let all = async { while served.join_next().await.is_some() {} };
        if timeout(farewell, all).await.is_err() {
            tracing::debug!("connections are closed though requests are under way");
        }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// What all connections share.
struct Serving {
    routes: Router,
    tls: Option<Tls>,
    patience: Duration,
    farewell: Duration,
    ended: watch::Receiver<bool>,
}

impl Serving {
    async fn serve(&self, stream: TcpStream, client: IpAddr) {
        // Answers are small and waited for.
        let _ = stream.set_nodelay(true);
        let stream = Impatient::new(stream, self.patience);
        match self.tls.as_ref().map(Tls::acceptor) {
            None => self.talk(stream, client).await,
            Some(acceptor) => match timeout(self.patience, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => self.talk(stream, client).await,
                Ok(Err(error)) => tracing::debug!(%client, %error, "no TLS"),
                Err(_) => tracing::debug!(%client, "no TLS in time"),
            },
        }
    }

    async fn talk<S>(&self, stream: S, client: IpAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let answer = Extension(Client(client)).layer(self.routes.clone());
        let mut http = Builder::new(TokioExecutor::new()).http1_only();
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.patience)
            .max_buf_size(LARGEST_HEAD)
            .max_headers(MOST_HEADERS);
        let connection =
            http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(answer));
        tokio::pin!(connection);
        let mut ended = self.ended.clone();
        let over = async {
            tokio::select! {
                () = sleep(LIFE) => {}
                // Fails when the server is gone, which is an end too.
                _ = ended.wait_for(|ended| *ended) => {}
            }
        };
        let result = tokio::select! {
            result = &mut connection => result,
            () = over => {
                connection.as_mut().graceful_shutdown();
                match timeout(self.farewell, connection).await {
                    Ok(result) => result,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%client, %error, "a connection broke");
        }
    }
}
