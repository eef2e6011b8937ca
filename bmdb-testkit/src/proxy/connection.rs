//! The connections of a proxy: accepts them, and forwards each between client and server.

use super::breakpoint::Breakpoints;
use super::faults::{Direction, Faults, Gate};
use super::listener::Listener;
use super::message::{Conversation, Counts};
use super::pump::pump;
use super::server::{Server, Socket};
use std::future::{pending, poll_fn};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::split;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// What all connections of a proxy share.
pub(super) struct Connections {
    pub(super) server: Server,
    pub(super) listener: Listener,
    pub(super) faults: watch::Sender<Faults>,
    pub(super) breakpoints: Breakpoints,
    pub(super) counts: Counts,
}

impl Connections {
    pub(super) fn new(server: Server, listener: Listener) -> Self {
        Self {
            server,
            listener,
            faults: watch::Sender::new(Faults::default()),
            breakpoints: Breakpoints::default(),
            counts: Counts::default(),
        }
    }
}

/// Accepts connections until it is aborted.
pub(super) async fn accept(connections: Arc<Connections>) {
    let mut faults = connections.faults.subscribe();
    loop {
        tokio::select! {
            accepted = poll_fn(|cx| connections.listener.poll_accept(cx)) => match accepted {
                Ok((client, cut)) => {
                    tokio::spawn(serve(connections.clone(), client, cut));
                }
                // For example too many open files: others may be closed soon.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            // The listener may have been resumed.
            _ = faults.changed() => {}
        }
    }
}

async fn serve(
    connections: Arc<Connections>,
    client: Box<dyn Socket>,
    cut: Arc<CancellationToken>,
) {
    tokio::select! {
        biased;
        () = cut.cancelled() => {}
        // Whatever the result, both sockets are closed now.
        _ = forward(&connections, client, &cut) => {}
    }
}

async fn forward(
    connections: &Connections,
    client: Box<dyn Socket>,
    cut: &CancellationToken,
) -> io::Result<()> {
    let gate = |direction| Gate {
        direction,
        faults: connections.faults.subscribe(),
        cut,
    };
    let (mut requests, answers) = (gate(Direction::ToServer), gate(Direction::ToClient));
    // While requests are stopped the server must not see the new connection.
    requests.pass(Instant::now()).await?;
    let (mut from_server, mut to_server) = split(connections.server.connect().await?);
    let (mut from_client, mut to_client) = split(client);
    // Declared last and so dropped before the sockets: when a client sees the cut, `has_lost` is already true.
    let conversation = Conversation::new(&connections.breakpoints, &connections.counts);
    let requests = async {
        let inspect = |bytes: &[u8]| conversation.request(bytes);
        pump(&mut from_client, &mut to_server, requests, inspect).await?;
        // The client has finished; the server may still answer, and then closes as well.
        pending().await
    };
    let inspect = |bytes: &[u8]| conversation.answer(bytes);
    let answers = pump(&mut from_server, &mut to_client, answers, inspect);
    tokio::select! {
        ended = requests => ended,
        ended = answers => ended,
    }
}
