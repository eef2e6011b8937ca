//! The address at which a proxy is reached: open, shut, and whoever has come in through it.

use super::target::Ends;
use crate::TestkitError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::{fmt, fs, io};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

const BACKLOG: u32 = 1024;

/// Where a proxy listens.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(socket) => socket.display().fmt(f),
        }
    }
}

/// The life of the connections between two cuts. Its semaphore never has a permit, so it can only
/// be waited for until it is closed, and that can be asked for without waiting as well.
#[derive(Debug)]
pub(super) struct Life(Semaphore);

impl Life {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Semaphore::new(0)))
    }

    pub(super) fn end(&self) {
        self.0.close();
    }

    /// Waits for the cut.
    pub(super) async fn over(&self) {
        // Both answers say that it is closed.
        let _ = self.0.acquire().await;
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_closed()
    }
}

pub(super) struct Door {
    place: Place,
    /// Sockets belong to a runtime, but the door is reopened by whoever heals the proxy.
    runtime: Handle,
    /// One lock for both: whoever has come in is cut, or has not come in.
    state: Mutex<State>,
}

struct State {
    listener: Listener,
    life: Arc<Life>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
    /// Holds the port, so that nobody else gets it, and refuses because it does not listen.
    Bound(TcpSocket),
    Closed,
}

impl Door {
    /// Opens at this place; with port 0 at one that is free.
    pub(super) fn open(place: Place) -> Result<Self, TestkitError> {
        let opened = listen(&place, Listener::Closed).and_then(|listener| {
            let place = match &listener {
                Listener::Tcp(tcp) => Place::Tcp(tcp.local_addr()?),
                _ => place.clone(),
            };
            Ok((listener, place))
        });
        let (listener, place) = opened.map_err(|source| not_listening(&place, source))?;
        Ok(Self {
            place,
            runtime: Handle::current(),
            state: Mutex::new(State {
                listener,
                life: Life::new(),
            }),
        })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The next connection. While the door is shut this is pending and wakes nobody up.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Ends, Arc<Life>)>> {
        let state = self.lock();
        let ends = match &state.listener {
            Listener::Tcp(tcp) => Ends::tcp(ready!(tcp.poll_accept(cx))?.0)?,
            Listener::Unix(unix) => Ends::unix(ready!(unix.poll_accept(cx))?.0),
            Listener::Bound(_) | Listener::Closed => return Poll::Pending,
        };
        Poll::Ready(Ok((ends, state.life.clone())))
    }

    pub(super) fn connections(&self) -> usize {
        // Each connection has a share in its life, and so has the door.
        Arc::strong_count(&self.lock().life) - 1
    }

    pub(super) fn cut(&self) {
        cut(&mut self.lock());
    }

    pub(super) fn shut(&self) {
        let mut state = self.lock();
        if let Listener::Tcp(_) | Listener::Unix(_) = state.listener {
            state.listener = Listener::Closed;
            if let Place::Tcp(address) = self.place {
                // Without the port it refuses all the same; only reopening may fail then.
                state.listener = bound(address).map_or(Listener::Closed, Listener::Bound);
            }
        }
        cut(&mut state);
    }

    pub(super) fn reopen(&self) -> Result<(), TestkitError> {
        let mut state = self.lock();
        if let Listener::Tcp(_) | Listener::Unix(_) = state.listener {
            return Ok(());
        }
        let _entered = self.runtime.enter();
        let before = std::mem::replace(&mut state.listener, Listener::Closed);
        let listener = listen(&self.place, before);
        state.listener = listener.map_err(|source| not_listening(&self.place, source))?;
        Ok(())
    }

    /// Shuts for good.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.listener = Listener::Closed;
        cut(&mut state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(state: &mut State) {
    std::mem::replace(&mut state.life, Life::new()).end();
}

fn listen(place: &Place, before: Listener) -> io::Result<Listener> {
    match place {
        Place::Tcp(address) => {
            let socket = match before {
                Listener::Bound(socket) => socket,
                _ => bound(*address)?,
            };
            Ok(Listener::Tcp(socket.listen(BACKLOG)?))
        }
        Place::Unix(socket) => {
            // What an earlier listener has left: it refuses by being there without one.
            match fs::remove_file(socket) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(Listener::Unix(UnixListener::bind(socket)?)),
            }
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections that were cut linger at the address for a while.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn not_listening(place: &Place, source: io::Error) -> TestkitError {
    TestkitError::Listen {
        place: place.to_string(),
        source,
    }
}
