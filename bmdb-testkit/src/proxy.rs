//! A proxy between a program and its server that makes the network misbehave on command.

mod breakpoint;
mod faults;
mod folder;
mod listener;
mod message;
mod prepared;
mod pump;
mod target;
mod url;
mod wire;

pub use breakpoint::Loss;

use crate::TestkitError;
use crate::error::with_detail;
use breakpoint::Traps;
use faults::Faults;
use folder::Folder;
use listener::{Door, Place};
use message::Counts;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use target::Target;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Config;

/// Stands before one server, and passes on what programs and server say to each other until it is
/// told to be a bad network.
///
/// Each fault takes effect at once, on the connections that are open and on those to come, and
/// what the proxy has taken in but not yet passed on meets it as well. Faults add up;
/// [`heal`](Proxy::heal) ends all of them.
///
/// It works on the runtime on which it was made, with Tokio's clock. When it is dropped, its
/// connections are closed and it listens no more.
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
/// proxy.black_hole(); // and now vanishes without a word
/// proxy.heal()?;
/// # Ok(())
/// # }
/// ```
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    /// Removed after the listener is closed.
    _folder: Option<Folder>,
}

/// What the connections' tasks have in common with the proxy.
struct Shared {
    target: Target,
    door: Door,
    faults: watch::Sender<Faults>,
    traps: Traps,
    counts: Counts,
}

impl Proxy {
    /// A proxy that listens on a free TCP port of 127.0.0.1, before the server that `url` names.
    ///
    /// The server is named by whatever tokio-postgres understands, by TCP or by unix socket. Its
    /// name is looked up here, but it is not connected to before somebody connects to the proxy;
    /// when it cannot be reached then, the connection is closed.
    ///
    /// # Errors
    /// [`TestkitError::NoTarget`] where the URL cannot be read, or does not name exactly one
    /// server; [`TestkitError::Listen`] where there is no port.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with I/O and time.
    ///
    /// # Cancellation
    /// Nothing stays behind when the future is dropped.
    pub async fn tcp(url: &str) -> Result<Self, TestkitError> {
        let any = Place::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Self::at(any, None, url).await
    }

    /// A proxy that listens on a unix socket in a folder of its own, which only this user may
    /// enter, before the server that `url` names. Otherwise as [`Proxy::tcp`].
    ///
    /// # Errors
    /// Those of [`Proxy::tcp`]; [`TestkitError::Listen`] where the folder cannot be made.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with I/O and time.
    ///
    /// # Cancellation
    /// Nothing stays behind when the future is dropped.
    pub async fn unix(url: &str) -> Result<Self, TestkitError> {
        let folder = Folder::new()?;
        let socket = folder.socket();
        Self::at(Place::Unix(socket), Some(folder), url).await
    }

    async fn at(place: Place, folder: Option<Folder>, url: &str) -> Result<Self, TestkitError> {
        let config: Config = url.parse().map_err(|error| TestkitError::NoTarget {
            reason: with_detail(&error),
        })?;
        let target = Target::of(&config).await?;
        let door = Door::open(place)?;
        let url = url::through(&door, &target, &config);
        let shared = Arc::new(Shared {
            target,
            door,
            faults: watch::Sender::new(Faults::default()),
            traps: Traps::default(),
            counts: Counts::default(),
        });
        let accepting = tokio::spawn(pump::accept(shared.clone()));
        Ok(Self {
            url,
            shared,
            accepting,
            _folder: folder,
        })
    }

    /// The URL of the same database through the proxy: with the given URL's user, password,
    /// database, options, application name and connect timeout. Understood by libpq,
    /// tokio-postgres and Diesel.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes every connection that is open now. New ones are served.
    pub fn cut(&self) {
        self.shared.door.cut();
    }

    /// Everything takes this much longer, in each direction; a round trip twice as much. As on a
    /// long line, the next message need not wait until the one before it has arrived: throughput
    /// stays what it was, up to 1024 messages on their way.
    pub fn delay(&self, delay: Duration) {
        self.fault(|faults| faults.delay = delay);
    }

    /// Each direction of each connection passes no more than this many bytes in a second.
    pub fn throttle(&self, bytes_per_second: NonZeroU64) {
        self.fault(|faults| faults.bytes_per_second = Some(bytes_per_second));
    }

    /// Nothing passes in either direction, not even that a side has closed its connection, and
    /// nobody is told. Connections to the proxy still succeed. What was held back passes when it
    /// heals.
    pub fn black_hole(&self) {
        self.fault(|faults| (faults.requests_held, faults.answers_held) = (true, true));
    }

    /// As [`black_hole`](Proxy::black_hole), but what the server says still passes.
    pub fn half_open(&self) {
        self.fault(|faults| (faults.requests_held, faults.answers_held) = (true, false));
    }

    /// Closes every connection, and stops listening: new ones are refused by the operating system
    /// as they are where no server runs. The address stays the proxy's.
    pub fn refuse(&self) {
        self.shared.door.shut();
    }

    /// Ends every fault, and forgets the trap that [`lose`](Proxy::lose) has set.
    ///
    /// # Errors
    /// [`TestkitError::Listen`] where it cannot listen again after [`refuse`](Proxy::refuse). The
    /// other faults have ended nevertheless.
    pub fn heal(&self) -> Result<(), TestkitError> {
        self.shared.traps.forget();
        let reopened = self.shared.door.reopen();
        // After the door, so that whoever accepts looks at the new listener.
        self.fault(|faults| *faults = Faults::default());
        reopened
    }

    /// The next request that contains `needle` meets this loss, and its connection is cut. Only
    /// the last trap that was set counts, and it springs once.
    ///
    /// A request is what is sent up to a simple query's end or a `Sync`. One that runs a prepared
    /// statement contains that one's text as well. It is found however it is split on its way. What the client has sent at once with it shares its fate. A
    /// connection's start is a request as well, and contains user and database. Text goes over
    /// the line as it is, but in a connection that is encrypted nothing is found.
    pub fn lose(&self, loss: Loss, needle: impl AsRef<[u8]>) {
        self.shared.traps.set(loss, needle.as_ref());
    }

    /// Whether the loss that [`lose`](Proxy::lose) asked for last has happened.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        self.shared.traps.have_lost()
    }

    /// Waits until the loss that [`lose`](Proxy::lose) asked for last has happened; for ever where
    /// none was asked for.
    ///
    /// # Cancellation
    /// Dropping the future changes nothing.
    pub async fn lost(&self) {
        self.shared.traps.lost().await;
    }

    /// How many connections are open. One that was cut is not.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.door.connections()
    }

    /// How many requests were passed to the server so far, over all connections: simple queries
    /// and `Sync`s. A connection's start is none; in a connection that is encrypted none is seen.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.counts.requests.load(Ordering::Relaxed)
    }

    /// How many of the [`Proxy::requests`] were made while none of the same connection was
    /// unanswered: those that a program waits for one after the other. What it sends in company of
    /// another request costs no round trip of its own.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.shared.counts.round_trips.load(Ordering::Relaxed)
    }

    fn fault(&self, change: impl FnOnce(&mut Faults)) {
        self.shared.faults.send_modify(change);
    }
}

impl fmt::Debug for Proxy {
    /// Without the URL, which may have a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("place", &self.shared.door.place())
            .field("target", &self.shared.target)
            .field("faults", &*self.shared.faults.borrow())
            .finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.door.close();
        self.accepting.abort();
    }
}
