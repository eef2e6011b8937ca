//! Metrics of a long-running command, served over HTTP.

use crate::failure::Failure;
use crate::serve::address;
use bmdb_web::{Monitor, ServeError, ServeOptions, Server, Token};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::task::AbortHandle;

#[derive(Args)]
pub(crate) struct Metrics {
    /// Serve /metrics and /healthz of this program on this address. An address that other computers can
    /// reach requires --metrics-token-file.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    metrics_listen: Option<SocketAddr>,
    /// A file with the bearer token that clients of the metrics must send.
    #[arg(long, value_name = "FILE", requires = "metrics_listen")]
    metrics_token_file: Option<PathBuf>,
}

/// Dropping it stops the server.
pub(crate) struct MetricsServer(Option<AbortHandle>);

impl Drop for MetricsServer {
    fn drop(&mut self) {
        if let Some(server) = &self.0 {
            server.abort();
        }
    }
}

impl Metrics {
    /// Starts the server and passes its URL to `note`. Call it before connecting to the database, so that
    /// the metrics of connecting are counted.
    pub(crate) async fn serve(&self, note: impl FnOnce(String)) -> Result<MetricsServer, Failure> {
        let Some(listen) = self.metrics_listen else {
            return Ok(MetricsServer(None));
        };
        let mut options = ServeOptions::default();
        options.listen = listen;
        if let Some(path) = &self.metrics_token_file {
            options.token = Some(Token::read(path)?);
        }
        let server = Server::bind(options).await.map_err(refused)?;
        note(format!("Metrics at {}metrics", server.url()));
        let routes = Monitor::of_this_program()?.router();
        let server = tokio::spawn(server.run(routes, std::future::pending()));
        Ok(MetricsServer(Some(server.abort_handle())))
    }
}

/// The failure in the names of this command's options.
fn refused(error: ServeError) -> Failure {
    match error {
        ServeError::Open(address) => Failure::usage(format!(
            "{address} can be reached from other computers: \
             give a token (--metrics-token-file), or listen on 127.0.0.1"
        )),
        error => error.into(),
    }
}
