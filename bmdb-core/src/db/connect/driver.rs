//! Driver: the task that moves the bytes of a connection.
//!
//! diesel-async has such a task itself, but only for streams that tokio-postgres has made, which nobody else
//! can read.

use super::stream::ServerStream;
use diesel::connection::{Instrumentation, InstrumentationEvent, get_default_instrumentation};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::future::poll_fn;
use std::pin::pin;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{AsyncMessage, Client, Connection};

/// The payloads of the notifications of a connection; ends when the connection does.
pub(crate) type Payloads = mpsc::UnboundedReceiver<String>;

/// Starts the task, and makes a connection for Diesel.
///
/// The connection is closed when it is dropped, also in the middle of a statement: its transaction must not
/// keep its locks until the statement is done.
pub(super) async fn drive(
    client: Client,
    connection: Connection<ServerStream, ServerStream>,
) -> diesel::ConnectionResult<(AsyncPgConnection, Payloads)> {
    let (_closer, closed) = oneshot::channel();
    let (sender, payloads) = mpsc::unbounded_channel();
    tokio::spawn(run(connection, closed, sender));
    let mut conn = AsyncPgConnection::try_from(client).await?;
    // What Diesel keeps with a connection is dropped with it.
    conn.set_instrumentation(Closer {
        _closer,
        instrumentation: get_default_instrumentation(),
    });
    Ok((conn, payloads))
}

/// Reports what happens on the connection to another instrumentation than the program's default. Diesel's own way
/// would replace what closes the connection.
pub(crate) fn instrument(conn: &mut AsyncPgConnection, instrumentation: impl Instrumentation) {
    if let Some(closer) = conn.instrumentation().downcast_mut::<Closer>() {
        closer.instrumentation = Some(Box::new(instrumentation));
    }
}

/// Ends the task when it is dropped. What it replaces, the program's own instrumentation, goes on.
struct Closer {
    _closer: oneshot::Sender<()>,
    instrumentation: Option<Box<dyn Instrumentation>>,
}

impl Instrumentation for Closer {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let Some(instrumentation) = &mut self.instrumentation {
            instrumentation.on_connection_event(event);
        }
    }
}

async fn run(
    mut connection: Connection<ServerStream, ServerStream>,
    mut closed: oneshot::Receiver<()>,
    payloads: mpsc::UnboundedSender<String>,
) {
    loop {
        let message = pin!(poll_fn(|context| connection.poll_message(context)));
        tokio::select! {
            biased;
            _ = &mut closed => return,
            message = message => match message {
                Some(Ok(AsyncMessage::Notification(notification))) => {
                    // Only the listener keeps the other end.
                    let _unheard = payloads.send(notification.payload().to_owned());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    // A statement in flight fails with less: that the connection was closed.
                    tracing::debug!(%error, "a connection to the database ends");
                    return;
                }
                None => return,
            },
        }
    }
}
