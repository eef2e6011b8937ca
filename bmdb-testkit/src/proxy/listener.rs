//! Listener: accepts the proxy's connections, and stops, resumes and cuts them.

use super::server::Socket;
use crate::TestkitError;
use crate::lock::lock;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::{fmt, fs, io};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

const BACKLOG: u32 = 1024;

/// Where a proxy listens.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(socket) => socket.display().fmt(f),
        }
    }
}

/// A connection, and the token that is canceled to cut it.
type Accepted = (Box<dyn Socket>, Arc<CancellationToken>);

pub(super) struct Listener {
    address: Address,
    /// A socket belongs to a runtime, and a thread outside of it may call [`Listener::resume`].
    runtime: Handle,
    /// One lock for both fields: every accepted connection has the token that the next cut cancels.
    state: Mutex<State>,
}

struct State {
    socket: Listening,
    /// Canceled to cut the connections accepted since the last cut; each of them holds a clone.
    cut: Arc<CancellationToken>,
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
    /// Reserves the port for the proxy, and refuses connections because it does not listen.
    Bound(TcpSocket),
    Closed,
}

impl Listener {
    /// Listens at this address; port 0 stands for a free one.
    pub(super) fn open(address: Address) -> Result<Self, TestkitError> {
        let opened = listen(&address, Listening::Closed).and_then(|socket| {
            let address = match &socket {
                Listening::Tcp(tcp) => Address::Tcp(tcp.local_addr()?),
                _ => address.clone(),
            };
            Ok((socket, address))
        });
        let (socket, address) = opened.map_err(|source| cannot_listen(&address, source))?;
        Ok(Self {
            address,
            runtime: Handle::current(),
            state: Mutex::new(State {
                socket,
                cut: Arc::default(),
            }),
        })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection. While the listener is stopped this is pending and registers no waker.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let state = lock(&self.state);
        let client: Box<dyn Socket> = match &state.socket {
            Listening::Tcp(tcp) => {
                let (stream, _) = ready!(tcp.poll_accept(cx))?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Listening::Unix(unix) => Box::new(ready!(unix.poll_accept(cx))?.0),
            Listening::Bound(_) | Listening::Closed => return Poll::Pending,
        };
        Poll::Ready(Ok((client, state.cut.clone())))
    }

    pub(super) fn connections(&self) -> usize {
        // The listener holds one reference itself.
        Arc::strong_count(&lock(&self.state).cut) - 1
    }

    pub(super) fn cut(&self) {
        lock(&self.state).cut();
    }

    pub(super) fn stop(&self) {
        let mut state = lock(&self.state);
        if let Listening::Tcp(_) | Listening::Unix(_) = state.socket {
            state.socket = Listening::Closed;
            if let Address::Tcp(address) = self.address {
                // Without the reserved port connections are refused as well; only resuming may fail.
                state.socket = bind(address).map_or(Listening::Closed, Listening::Bound);
            }
        }
        state.cut();
    }

    pub(super) fn resume(&self) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        if let Listening::Tcp(_) | Listening::Unix(_) = state.socket {
            return Ok(());
        }
        let _entered = self.runtime.enter();
        let before = std::mem::replace(&mut state.socket, Listening::Closed);
        let socket = listen(&self.address, before);
        state.socket = socket.map_err(|source| cannot_listen(&self.address, source))?;
        Ok(())
    }

    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.socket = Listening::Closed;
        state.cut();
    }
}

impl State {
    fn cut(&mut self) {
        std::mem::take(&mut self.cut).cancel();
    }
}

fn listen(address: &Address, before: Listening) -> io::Result<Listening> {
    match address {
        Address::Tcp(address) => {
            let socket = match before {
                Listening::Bound(socket) => socket,
                _ => bind(*address)?,
            };
            Ok(Listening::Tcp(socket.listen(BACKLOG)?))
        }
        // An earlier listener leaves its file, which refuses connections.
        Address::Unix(socket) => match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Listening::Unix(UnixListener::bind(socket)?)),
        },
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Closed connections occupy the address for a while.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn cannot_listen(address: &Address, source: io::Error) -> TestkitError {
    TestkitError::Listen {
        address: address.to_string(),
        source,
    }
}
