//! Stream: the bytes between us and a server, encrypted or not, on their way to tokio-postgres.

use super::error_scanner::ErrorScanner;
use super::socket::Socket;
use bmdb_model::internal::sqlstate;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The stream of an encrypted connection.
pub(super) type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Passes bytes through, and notes the SQLSTATE of each error that the server sends before tokio-postgres
/// reads it.
pub(super) struct ServerStream {
    transport: Transport,
    scanner: ErrorScanner,
}

pub(super) enum Transport {
    Plain(Socket),
    Tls(Box<Encrypted>),
}

impl ServerStream {
    /// A stream whose next byte is the first of the server's first message.
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport,
            scanner: ErrorScanner::default(),
        }
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { transport, scanner } = &mut *self;
        let before = buffer.filled().len();
        let read = match transport {
            Transport::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Transport::Tls(tls) => Pin::new(&mut **tls).poll_read(context, buffer),
        };
        let new = buffer.filled().get(before..).unwrap_or_default();
        scanner.read(new, |error| match error.is_fatal {
            true => sqlstate::note_fatal(error.code, &error.message),
            false => sqlstate::note(error.code, &error.message),
        });
        read
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Transport::Tls(tls) => Pin::new(&mut **tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(socket) => Pin::new(socket).poll_flush(context),
            Transport::Tls(tls) => Pin::new(&mut **tls).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Transport::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(context),
        }
    }
}

impl TlsStream for ServerStream {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.transport {
            Transport::Plain(_) => ChannelBinding::none(),
            Transport::Tls(tls) => tls.channel_binding(),
        }
    }
}

/// Hands a stream to tokio-postgres as one that needs no negotiation any more. tokio-postgres asks only a
/// stream that it takes for encrypted for its channel binding.
pub(super) struct Negotiated;

impl TlsConnect<ServerStream> for Negotiated {
    type Stream = ServerStream;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<ServerStream, Self::Error>>;

    fn connect(self, stream: ServerStream) -> Self::Future {
        std::future::ready(Ok(stream))
    }
}
