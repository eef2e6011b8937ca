//! Negotiation: whether a new connection is encrypted.

use super::socket::Socket;
use super::stream::{ServerStream, Transport};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

/// `SSLRequest`: its length, and the number that stands for a protocol version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// How one try encrypts its connection.
#[derive(Clone)]
pub(super) struct Encryption {
    pub(super) mode: SslMode,
    /// The TLS handshake is not asked for but begins at once.
    pub(super) is_direct: bool,
    /// `None` if no connection to the server is encrypted.
    pub(super) tls: Option<MakeRustlsConnect>,
    /// Whose certificate is expected.
    pub(super) hostname: String,
}

/// Why a connection could not be encrypted.
#[derive(Debug)]
pub(super) enum NegotiationError {
    /// The server has no TLS.
    NotEncrypted,
    /// The server sent an error instead of an answer. Nothing vouches for its text, so it is not shown.
    Refused,
    /// The server answered with something else.
    NotPostgres(u8),
    /// The connection failed while TLS was asked for.
    Io(io::Error),
    /// The TLS handshake failed.
    Tls(io::Error),
}

impl Encryption {
    pub(super) async fn negotiate(
        &self,
        mut socket: Socket,
    ) -> Result<ServerStream, NegotiationError> {
        let tls = match (&self.tls, self.mode) {
            (Some(tls), SslMode::Prefer | SslMode::Require) => tls,
            _ => return Ok(ServerStream::new(Transport::Plain(socket))),
        };
        if !self.is_direct {
            // One byte and no more: bytes that somebody in between sends after it must fail the handshake.
            let answer = ask(&mut socket).await.map_err(NegotiationError::Io)?;
            match answer {
                b'S' => {}
                b'N' if self.mode == SslMode::Prefer => {
                    return Ok(ServerStream::new(Transport::Plain(socket)));
                }
                b'N' => return Err(NegotiationError::NotEncrypted),
                b'E' => return Err(NegotiationError::Refused),
                other => return Err(NegotiationError::NotPostgres(other)),
            }
        }
        let mut tls = tls.clone();
        let Ok(connector) = MakeTlsConnect::<Socket>::make_tls_connect(&mut tls, &self.hostname);
        let encrypted = connector.connect(socket).await;
        let encrypted = encrypted.map_err(NegotiationError::Tls)?;
        Ok(ServerStream::new(Transport::Tls(Box::new(encrypted))))
    }
}

async fn ask(socket: &mut Socket) -> io::Result<u8> {
    socket.write_all(&SSL_REQUEST).await?;
    socket.flush().await?;
    socket.read_u8().await
}
