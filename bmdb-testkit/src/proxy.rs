//! Proxy between a program and its server that makes the network fail on command.

mod breakpoint;
mod connection;
mod faults;
mod folder;
mod listener;
mod message;
mod protocol;
mod pump;
mod server;
mod url;

pub use breakpoint::Loss;

use crate::TestkitError;
use crate::error::with_detail;
use connection::{Connections, accept};
use faults::Faults;
use folder::Folder;
use listener::{Address, Listener};
use server::Server;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::Config;

/// A proxy in front of one server. It forwards everything until a method asks it for a fault.
///
/// Each fault takes effect at once, on open connections, on later ones, and on data that the proxy
/// has read but not yet forwarded. Faults add up; [`heal`](Proxy::heal) ends all of them.
///
/// The proxy runs on the runtime on which it was made, with Tokio's clock. Dropping it closes its
/// connections and its listener.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), bmdb_testkit::TestkitError> {
/// use bmdb_testkit::{Proxy, TestDb};
/// use std::time::Duration;
///
/// let db = TestDb::new().await?;
/// let proxy = Proxy::tcp(db.url()).await?;
/// // … connect the program under test to proxy.url() …
///
/// proxy.delay(Duration::from_millis(20)); // a server that is far away
/// proxy.black_hole(); // and then stops answering
/// proxy.heal()?;
/// # Ok(())
/// # }
/// ```
pub struct Proxy {
    url: String,
    connections: Arc<Connections>,
    accepting: JoinHandle<()>,
    /// Removed after the listener is closed.
    _folder: Option<Folder>,
}

impl Proxy {
    /// Starts a proxy on a free TCP port of 127.0.0.1, in front of the server that `url` names.
    ///
    /// `url` is any connection string that tokio-postgres reads, for TCP or a unix socket. The proxy
    /// resolves the host name now and connects to the server only when a client connects. If it
    /// cannot reach the server then, it closes the client's connection.
    ///
    /// # Errors
    /// [`TestkitError::NoTarget`] if the URL cannot be parsed or does not name exactly one server;
    /// [`TestkitError::Listen`] if there is no free port.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with I/O and time.
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing behind.
    pub async fn tcp(url: &str) -> Result<Self, TestkitError> {
        let any_port = Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Self::listen(any_port, None, url).await
    }

    /// Starts a proxy on a unix socket in a folder of its own that only this user can enter, in
    /// front of the server that `url` names. Otherwise like [`Proxy::tcp`].
    ///
    /// # Errors
    /// Those of [`Proxy::tcp`]; [`TestkitError::Listen`] if the folder cannot be created.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with I/O and time.
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing behind.
    pub async fn unix(url: &str) -> Result<Self, TestkitError> {
        let folder = Folder::new()?;
        let socket = folder.socket();
        Self::listen(Address::Unix(socket), Some(folder), url).await
    }

    async fn listen(
        address: Address,
        folder: Option<Folder>,
        url: &str,
    ) -> Result<Self, TestkitError> {
        let config: Config = url.parse().map_err(|error| TestkitError::NoTarget {
            reason: with_detail(&error),
        })?;
        let server = Server::of(&config).await?;
        let listener = Listener::open(address)?;
        let url = url::through(listener.address(), &server, &config);
        let connections = Arc::new(Connections::new(server, listener));
        let accepting = tokio::spawn(accept(connections.clone()));
        Ok(Self {
            url,
            connections,
            accepting,
            _folder: folder,
        })
    }

    /// The URL of the same database through the proxy, with the given URL's user, password,
    /// database, options, application name and connect timeout. libpq, tokio-postgres and Diesel
    /// read it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes every open connection. The proxy still accepts new ones.
    pub fn cut(&self) {
        self.connections.listener.cut();
    }

    /// Delays everything by this much in each direction, so a round trip takes twice as much longer.
    /// As on a long line, a message does not wait until the one before it has arrived: throughput
    /// stays the same, up to 1024 chunks of 64 KiB in flight.
    pub fn delay(&self, delay: Duration) {
        self.fault(|faults| faults.delay = delay);
    }

    /// Forwards nothing in either direction and reports no error, not even that one side closed its
    /// connection. Clients can still connect to the proxy. Healing forwards what was held back.
    pub fn black_hole(&self) {
        self.fault(|faults| (faults.stop_requests, faults.stop_answers) = (true, true));
    }

    /// Like [`black_hole`](Proxy::black_hole), but still forwards what the server sends.
    pub fn half_open(&self) {
        self.fault(|faults| (faults.stop_requests, faults.stop_answers) = (true, false));
    }

    /// Closes every connection and stops listening: the operating system refuses new connections, as
    /// if no server ran there. The proxy keeps its address.
    pub fn refuse(&self) {
        self.connections.listener.stop();
    }

    /// Ends every fault, and removes the breakpoint that [`lose`](Proxy::lose) set.
    ///
    /// # Errors
    /// [`TestkitError::Listen`] if the proxy cannot listen again after [`refuse`](Proxy::refuse). The
    /// other faults have ended nevertheless.
    pub fn heal(&self) -> Result<(), TestkitError> {
        self.connections.breakpoints.remove();
        let resumed = self.connections.listener.resume();
        // After the listener: the change wakes the accepting task, which then polls the new one.
        self.fault(|faults| *faults = Faults::default());
        resumed
    }

    /// Sets a breakpoint: the next request that contains `needle` is lost in this way, and its
    /// connection is cut. A later call replaces an earlier breakpoint; each takes effect once.
    ///
    /// A request ends with a simple query or a `Sync`. The needle must be within one message of it;
    /// a message that runs a prepared statement also contains that statement's text. For
    /// [`Loss::Request`] the requests that the client sent in the same packet are lost as well. A
    /// connection's startup counts as a request that contains user and database. Breakpoints do not
    /// work on encrypted connections.
    pub fn lose(&self, loss: Loss, needle: impl AsRef<[u8]>) {
        self.connections.breakpoints.set(loss, needle.as_ref());
    }

    /// Whether the loss that the last call of [`lose`](Proxy::lose) asked for has happened.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        self.connections.breakpoints.has_lost()
    }

    /// Waits until the loss that the last call of [`lose`](Proxy::lose) asked for has happened;
    /// without such a call it waits forever.
    ///
    /// # Cancellation
    /// Dropping the future changes nothing.
    pub async fn lost(&self) {
        self.connections.breakpoints.lost().await;
    }

    /// The number of open connections. A connection that was cut does not count.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.listener.connections()
    }

    /// How many requests the proxy has forwarded over all connections: simple queries and `Sync`s.
    /// A connection's startup does not count, nor do requests on encrypted connections.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.connections.counts.requests.load(Ordering::Relaxed)
    }

    /// How many of the [`Proxy::requests`] were sent while the same connection had no unanswered
    /// request. Pipelined requests cost no round trip of their own.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.connections.counts.round_trips.load(Ordering::Relaxed)
    }

    fn fault(&self, change: impl FnOnce(&mut Faults)) {
        self.connections.faults.send_modify(change);
    }
}

impl fmt::Debug for Proxy {
    /// Without the URL, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.connections.listener.address())
            .field("server", &self.connections.server)
            .field("faults", &*self.connections.faults.borrow())
            .finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.connections.listener.close();
        self.accepting.abort();
    }
}
