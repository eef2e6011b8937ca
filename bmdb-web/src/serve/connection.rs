//! One connection: TLS, HTTP/1.1 and their timeouts.

use super::base_path::BasePath;
use crate::guard::{CONNECTION_LIFETIME, Client, Slot, Tls};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_io_timeout::TimeoutStream;
use tower::{Layer, ServiceExt as _};

/// The largest head of a request, in bytes and headers.
const LARGEST_HEAD: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;

/// What all connections share.
pub(super) struct Connections {
    pub(super) routes: Router,
    pub(super) tls: Option<Tls>,
    pub(super) base_path: BasePath,
    pub(super) response_timeout: Duration,
    pub(super) client_timeout: Duration,
}

impl Connections {
    /// Serves one connection until it ends. Ends it after the request under way when the server shuts down.
    pub(super) async fn serve(
        &self,
        stream: TcpStream,
        address: IpAddr,
        slot: Arc<Slot>,
        shutdown: Watcher,
    ) {
        // Responses are small, and must not wait for more data to send.
        let _ = stream.set_nodelay(true);
        let stream = with_write_timeout(stream, self.client_timeout);
        let client = Client {
            address,
            connected_at: Instant::now(),
            slot,
        };
        match self.tls.as_ref().map(Tls::acceptor) {
            None => self.serve_http(stream, client, shutdown).await,
            Some(acceptor) => match timeout(self.client_timeout, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => self.serve_http(stream, client, shutdown).await,
                Ok(Err(error)) => tracing::debug!(%address, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(%address, "TLS handshake timed out"),
            },
        }
    }

    async fn serve_http<S>(&self, stream: S, client: Client, shutdown: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let address = client.address;
        let base_path = self.base_path.clone();
        let routes = Extension(client).layer(self.routes.clone());
        let routes = routes.map_request(move |mut request: hyper::Request<_>| {
            base_path.strip(request.uri_mut());
            request
        });
        let service = TowerToHyperService::new(routes);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Also limits how long a connection is idle between requests.
            .header_read_timeout(self.client_timeout)
            .max_buf_size(LARGEST_HEAD)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        // The guard closes the connection with the first response after its lifetime. This cuts off a client
        // that reads that response too slowly.
        let longest = CONNECTION_LIFETIME + self.response_timeout + self.client_timeout;
        match timeout(longest, shutdown.watch(connection)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%address, %error, "connection failed"),
            Err(_) => tracing::debug!(%address, "connection is too old"),
        }
    }
}

/// Fails when the client reads nothing of what is written for this long. Without it, a client that requests
/// a lot and never reads would keep its connection forever.
fn with_write_timeout<S: AsyncRead + AsyncWrite>(
    stream: S,
    limit: Duration,
) -> Pin<Box<TimeoutStream<S>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limit));
    Box::pin(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_reader_may_be_slow_but_must_not_stall() {
        let (near, mut far) = duplex(8);
        let mut stream = with_write_timeout(near, Duration::from_secs(10));
        let reader = tokio::spawn(async move {
            let mut read = [0; 8];
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                far.read_exact(&mut read).await.unwrap();
            }
            far
        });
        stream.write_all(&[1; 32]).await.unwrap();
        let _far = reader.await.unwrap();
        let began = Instant::now();
        stream.write_all(&[1; 8]).await.unwrap();
        let error = stream.write_all(&[1; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }
}
