//! `bmdb serve`: the console and the metrics, over HTTP.

use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Page, Report};
use crate::watch::interval;
use bmdb_backoff::Seconds;
use bmdb_core::{Config, Reader};
use bmdb_web::{
    Console, ConsoleOptions, Monitor, RecorderInstalled, SampleOptions, Sampler, ServeError,
    ServeOptions, Server, TlsFiles, Token, TokenError,
};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long a page's statements may take.
const PAGE_LIMIT: Duration = Duration::from_secs(5);

/// Serve the console for people, and the metrics for Prometheus.
///
/// Pages at /, metrics at /metrics, and /healthz and /readyz for supervisors. It reads and never writes, so
/// a replica will do (--read-url). It listens on this machine only, unless
/// there is a token (--token-file) or clients show certificates (--client-ca). Whoever is asked for the
/// token gives it as the password of any user, programs also in the header `Authorization: Bearer …`.
/// /healthz and /readyz need no token and show nothing of the fleet.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb serve
  bmdb serve --listen 127.0.0.1:0 --json
  head -c 24 /dev/urandom | base64 > token && chmod 600 token
  bmdb serve --listen 0.0.0.0:8717 --token-file token --tls-cert server.crt --tls-key server.key")]
pub(crate) struct Serve {
    /// Where to listen; port 0 is any free one, and is printed.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "BMDB_LISTEN",
        default_value = "127.0.0.1:8717",
        value_parser = address
    )]
    listen: SocketAddr,
    /// A file with the token that whoever asks has to show: at least 16 characters, not readable by
    /// everybody.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The server's certificate in PEM, with those between it and its authority.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Answer only those who show a certificate of one of these authorities, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Another name by which a server on this machine may be asked, as that of a proxy before it; may be
    /// given more than once.
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// The database to read, such as a replica, instead of --database-url.
    #[arg(
        long,
        value_name = "URL",
        env = "BMDB_READ_URL",
        hide_env_values = true
    )]
    read_url: Option<String>,
    /// How long to rest after the fleet was counted; it rests longer where counting takes long.
    #[arg(long, value_name = "INTERVAL", default_value = "15s", value_parser = interval)]
    sample_interval: Seconds,
}

#[derive(Serialize)]
struct Listening {
    url: String,
    address: SocketAddr,
}

impl Report for Listening {
    fn show(&self, page: &mut Page) {
        page.note(format!("Listening on {}", self.url));
    }
}

impl Serve {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let options = self.options()?;
        // Before the database is asked: what is wrong with the command is told at once.
        let server = Server::bind(options).await?;
        let config = match &self.read_url {
            Some(url) => connect::config(Some(url)),
            None => context.config(),
        };
        let monitor = Monitor::of_this_program()?;
        let sampling = SampleOptions::default().interval(self.sample_interval.into());
        // Whether the database answers is not to be judged by how many pages wait for it.
        let probe = reader(context, config.clone(), 1, PAGE_LIMIT).await?;
        let reader = reader(context, config.clone(), 4, PAGE_LIMIT).await?;
        let counter = reader_of_samples(context, config, sampling).await?;
        let sampler = Sampler::start(counter, sampling);
        let monitor = monitor.fleet(sampler.clone()).ready_with(probe);
        let console = Console::new(reader, ConsoleOptions::default()).sampler(sampler);
        let routes = monitor.router().merge(console.router());
        context.output.report(&Listening {
            url: server.url(),
            address: server.address(),
        })?;
        server.run(routes, told_to_end()).await;
        Ok(())
    }

    fn options(&self) -> Result<ServeOptions, Failure> {
        let mut options = ServeOptions::default();
        options.listen = self.listen;
        options.allowed_hosts.clone_from(&self.allow_host);
        if let Some(path) = &self.token_file {
            options.token = Some(Token::read(path)?);
        }
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            options.tls = Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_authorities: self.client_ca.clone(),
            });
        }
        Ok(options)
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<RecorderInstalled> for Failure {
    fn from(error: RecorderInstalled) -> Self {
        Self::other(error.to_string())
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Listen { .. } => Self::other(error.to_string()),
            _ => Self::usage(error.to_string()),
        }
    }
}

async fn reader(
    context: &Context,
    mut config: Config,
    connections: usize,
    limit: Duration,
) -> Result<Reader, Failure> {
    config = config.component("bmdb-serve").pool_size(connections);
    config.statement_timeout = limit;
    config.lock_timeout = limit.min(PAGE_LIMIT);
    let reader = Reader::connect(config).await;
    reader.map_err(|error| context.explain(error))
}

/// One of its own: no page is to wait while the fleet is counted.
async fn reader_of_samples(
    context: &Context,
    config: Config,
    sampling: SampleOptions,
) -> Result<Reader, Failure> {
    reader(context, config, 1, sampling.timeout).await
}

/// Ctrl-C, or what a supervisor sends.
async fn told_to_end() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => {
                terminated.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be waited for");
                std::future::pending().await
            }
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// An address with a port; `localhost` is 127.0.0.1.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let address = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    address.parse().map_err(|_| {
        "an IP address and a port are needed, such as 127.0.0.1:8717 or [::1]:8717".to_owned()
    })
}
