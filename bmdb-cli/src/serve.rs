//! `bmdb serve`: the console and the metrics over HTTP.

use crate::connect::{self, connect_service};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Page, Report};
use crate::watch::interval;
use bmdb_backoff::Seconds;
use bmdb_core::{Config, ConnectError, Reader};
use bmdb_web::{
    Console, ConsoleOptions, Monitor, RecorderInstalled, SampleOptions, Sampler, ServeError,
    ServeOptions, Server, TlsFiles, Token, TokenError,
};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The statement timeout of the console's pages.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serve the web console, and metrics for Prometheus.
///
/// The console is at /, the metrics are at /metrics, and /healthz and /readyz are for supervisors. The server
/// only reads, so it can read a replica (--read-url). It listens on a loopback address only, unless clients
/// need a token (--token-file) or a certificate (--client-ca). A browser sends the token as the password of
/// any user, a program in the header `Authorization: Bearer …`. /healthz and /readyz need no token and show
/// nothing about the fleet.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb serve
  bmdb serve --listen 127.0.0.1:0 --json
  bmdb serve --base-path /fleet --allow-host ops.example
  head -c 24 /dev/urandom | base64 > token && chmod 600 token
  bmdb serve --listen 0.0.0.0:8717 --token-file token --tls-cert server.crt --tls-key server.key")]
pub(crate) struct Serve {
    /// The address to listen on. Port 0 chooses a free port, which is printed.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "BMDB_LISTEN",
        default_value = "127.0.0.1:8717",
        value_parser = address
    )]
    listen: SocketAddr,
    /// A file with the bearer token required of clients: at least 16 characters, and not readable by
    /// other users.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The server's certificate in PEM, followed by the intermediate certificates.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The server's private key in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Accept only clients with a certificate of one of these authorities, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Accept this host name too, such as the name of a proxy; can be repeated.
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// The path below which a reverse proxy shows the server, such as /fleet. The proxy may remove it from
    /// requests or not.
    #[arg(long, value_name = "PATH", default_value = "/")]
    base_path: String,
    /// Read this database instead of --database-url, such as a replica.
    #[arg(
        long,
        value_name = "URL",
        env = "BMDB_READ_URL",
        hide_env_values = true
    )]
    read_url: Option<String>,
    /// How long to wait between two counts of the fleet. The wait is longer if counting takes long.
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
        // Before connecting, so that invalid options are reported at once.
        let server = Server::bind(options).await?;
        let config = match &self.read_url {
            Some(url) => connect::config(Some(url)),
            None => context.config(),
        };
        let monitor = Monitor::of_this_program()?;
        let sampling = SampleOptions::default().interval(self.sample_interval.into());
        // A connection of its own: the readiness probe must not wait behind pages.
        let probe = reader(context, config.clone(), 1, PAGE_TIMEOUT).await?;
        let pages = reader(context, config.clone(), 4, PAGE_TIMEOUT).await?;
        // A connection of its own: pages must not wait while the fleet is counted.
        let counter = reader(context, config, 1, sampling.timeout).await?;
        let sampler = Sampler::start(counter, sampling);
        let monitor = monitor.fleet(sampler.clone()).ready_with(probe);
        let options = ConsoleOptions {
            // Some proxies know it only with a slash at its end.
            base_path: format!("{}/", self.base_path),
            ..ConsoleOptions::default()
        };
        let console = Console::new(pages, options).sampler(sampler);
        let routes = monitor.router().merge(console.router());
        let stopped = context.signals.stopped();
        context.output.report(&Listening {
            url: server.url(),
            address: server.address(),
        })?;
        server.run(routes, stopped).await;
        Ok(())
    }

    fn options(&self) -> Result<ServeOptions, Failure> {
        let mut options = ServeOptions::default();
        options.listen = self.listen;
        options.allowed_hosts.clone_from(&self.allow_host);
        options.base_path.clone_from(&self.base_path);
        if self.listen.ip().is_loopback() {
            // Behind a proxy all clients have its address.
            options.max_connections_per_client = options.max_connections;
        }
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
    config.lock_timeout = limit.min(PAGE_TIMEOUT);
    let waiting = |error: &ConnectError, delay| tracing::warn!(?delay, "{error}; waiting");
    let reader = connect_service(|| Reader::connect(config.clone()), waiting).await;
    reader.map_err(|error| context.explain(error))
}

/// Parses an address with a port; `localhost` is 127.0.0.1.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let address = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    address.parse().map_err(|_| {
        "expected an IP address and a port, such as 127.0.0.1:8717 or [::1]:8717".to_owned()
    })
}
