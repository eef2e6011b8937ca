//! The metrics of a command that works on machines, over HTTP while it runs.

use crate::failure::Failure;
use crate::serve::address;
use bmdb_web::{Monitor, ServeError, ServeOptions, Server, Token};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::task::AbortHandle;

#[derive(Args)]
pub(crate) struct Metrics {
    /// Show the metrics of this program at /metrics, and /healthz, on this address. Other machines can
    /// reach any but a loopback one, so that needs --metrics-token-file.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    metrics_listen: Option<SocketAddr>,
    /// A file with the token that whoever asks for the metrics has to show.
    #[arg(long, value_name = "FILE", requires = "metrics_listen")]
    metrics_token_file: Option<PathBuf>,
}

/// Shown until this is dropped.
pub(crate) struct Shown(Option<AbortHandle>);

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(server) = &self.0 {
            server.abort();
        }
    }
}

impl Metrics {
    /// Call it before the database is connected to: what is counted then is shown. Where, `tell` tells.
    pub(crate) async fn show(&self, tell: impl FnOnce(String)) -> Result<Shown, Failure> {
        let Some(listen) = self.metrics_listen else {
            return Ok(Shown(None));
        };
        let mut options = ServeOptions::default();
        options.listen = listen;
        if let Some(path) = &self.metrics_token_file {
            options.token = Some(Token::read(path)?);
        }
        let server = Server::bind(options).await.map_err(refused)?;
        tell(format!("Metrics at {}metrics", server.url()));
        let routes = Monitor::of_this_program()?.router();
        let server = tokio::spawn(server.run(routes, std::future::pending()));
        Ok(Shown(Some(server.abort_handle())))
    }
}

/// Why it is not shown there, in the names that the options have here.
fn refused(error: ServeError) -> Failure {
    match error {
        ServeError::Open(address) => Failure::usage(format!(
            "{address} can be reached from other machines, and whoever reaches it would see the metrics: \
             give a token (--metrics-token-file), or listen on 127.0.0.1"
        )),
        error => error.into(),
    }
}
