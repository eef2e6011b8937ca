//! Connecting: from a URL to a connection whose server is known to be usable.

use crate::config::Config;
use crate::error::ConnectError;
use bmdb_model::connection::{ConnectionInfo, set_up};
use bmdb_model::notify::Notify;
use diesel_async::AsyncPgConnection;
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config as PgConfig, NoTls};

/// The oldest PostgreSQL that has all we use.
const OLDEST_SERVER: u32 = 14;

/// After this time without any sign of life from the server's host, a TCP connection is given up.
const VANISHED: Duration = Duration::from_secs(30);

/// A validated URL with this component's settings.
#[derive(Clone)]
pub(crate) struct Target {
    config: PgConfig,
    timeout: Duration,
    notify: bool,
}

impl Target {
    pub(crate) fn new(config: &Config) -> Result<Self, ConnectError> {
        check(config)?;
        let mut pg: PgConfig = config.url.parse().map_err(|error: tokio_postgres::Error| {
            ConnectError::InvalidUrl(with_source(&error))
        })?;
        if pg.get_hosts().is_empty() && pg.get_hostaddrs().is_empty() {
            return Err(ConnectError::InvalidUrl("it names no host".to_owned()));
        }
        if pg.get_ssl_mode() == SslMode::Require {
            return Err(ConnectError::InvalidUrl(
                "sslmode=require: this version has no TLS; use a unix socket, a private network \
                 or a tunnel with sslmode=disable"
                    .to_owned(),
            ));
        }
        pg.ssl_mode(SslMode::Disable);
        if pg.get_application_name().is_none() {
            pg.application_name(&config.component);
        }
        let statement_timeout = config.statement_timeout.as_millis();
        let options = pg.get_options().unwrap_or_default().to_owned();
        pg.options(format!(
            "-c statement_timeout={statement_timeout} \
             -c idle_in_transaction_session_timeout={statement_timeout} {options}"
        ));
        pg.connect_timeout(config.connect_timeout);
        // Without these, an operation whose peer has vanished without a word waits for hours.
        if pg.get_tcp_user_timeout().is_none() {
            pg.tcp_user_timeout(VANISHED);
        }
        if pg.get_keepalives_idle() == PgConfig::new().get_keepalives_idle() {
            pg.keepalives_idle(VANISHED / 2);
        }
        if pg.get_keepalives_interval().is_none() {
            pg.keepalives_interval(VANISHED / 6);
        }
        if pg.get_keepalives_retries().is_none() {
            pg.keepalives_retries(3);
        }
        Ok(Self {
            config: pg,
            timeout: config.connect_timeout,
            notify: config.notify,
        })
    }

    /// The same with a statement timeout of its own; zero is none.
    pub(crate) fn with_statement_timeout(&self, timeout: Duration) -> Self {
        let mut config = self.config.clone();
        let options = config.get_options().unwrap_or_default().to_owned();
        let timeout = timeout.as_millis();
        config.options(format!(
            "{options} -c statement_timeout={timeout} -c idle_in_transaction_session_timeout={timeout}"
        ));
        Self {
            config,
            timeout: self.timeout,
            notify: self.notify,
        }
    }

    /// Whether planning on such a connection notifies.
    pub(crate) fn notify(&self, info: &ConnectionInfo) -> Notify {
        if self.notify && info.engine.has_listen_notify() {
            Notify::Listeners
        } else {
            Notify::Nobody
        }
    }

    /// Hosts and ports, without user and password.
    fn describe(&self) -> String {
        let ports = self.config.get_ports();
        let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(5432);
        let mut places: Vec<String> = Vec::new();
        for (i, host) in self.config.get_hosts().iter().enumerate() {
            places.push(match host {
                Host::Tcp(name) => format!("{name}:{}", port(i)),
                #[cfg(unix)]
                Host::Unix(path) => format!("{}/.s.PGSQL.{}", path.display(), port(i)),
            });
        }
        if places.is_empty() {
            let addresses = self.config.get_hostaddrs().iter().enumerate();
            places.extend(addresses.map(|(i, address)| format!("{address}:{}", port(i))));
        }
        places.join(", ")
    }

    /// Connects within the limit and checks that the server is one we can work with.
    pub(crate) async fn connect(
        &self,
    ) -> Result<(AsyncPgConnection, ConnectionInfo), ConnectError> {
        match tokio::time::timeout(self.timeout, self.connect_unbounded()).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout {
                target: self.describe(),
                seconds: self.timeout.as_secs_f64(),
            }),
        }
    }

    async fn connect_unbounded(&self) -> Result<(AsyncPgConnection, ConnectionInfo), ConnectError> {
        let (client, connection) = self
            .config
            .connect(NoTls)
            .await
            .map_err(|error| self.explain(error))?;
        let version = connection
            .parameter("server_version")
            .unwrap_or("unknown")
            .to_owned();
        if !is_supported(&version) {
            return Err(ConnectError::UnsupportedServer { version });
        }
        let mut conn = AsyncPgConnection::try_from_client_and_connection(client, connection)
            .await
            .map_err(|error| ConnectError::Unreachable {
                target: self.describe(),
                source: error.into(),
            })?;
        let info = set_up(&mut conn).await.map_err(ConnectError::SetUp)?;
        Ok((conn, info))
    }

    fn explain(&self, error: tokio_postgres::Error) -> ConnectError {
        let target = self.describe();
        if let Some(refusal) = error.as_db_error() {
            return ConnectError::Refused {
                target,
                message: refusal.message().to_owned(),
                code: refusal.code().code().to_owned(),
            };
        }
        let cause = std::error::Error::source(&error);
        let from_the_system = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
        // A server that breaks the protocol is reported as an I/O error of these kinds; one that hangs
        // up within a message as `Other`.
        let garbled = |io: &std::io::Error| {
            matches!(
                io.kind(),
                std::io::ErrorKind::InvalidInput
                    | std::io::ErrorKind::InvalidData
                    | std::io::ErrorKind::UnexpectedEof
                    | std::io::ErrorKind::Other
            )
        };
        match from_the_system {
            Some(io) if !garbled(io) => ConnectError::Unreachable {
                target,
                source: with_source(&error).into(),
            },
            Some(_) => ConnectError::NotPostgres {
                target,
                source: with_source(&error).into(),
            },
            None if error.to_string().contains("unexpected message") => ConnectError::NotPostgres {
                target,
                source: with_source(&error).into(),
            },
            None => ConnectError::Unreachable {
                target,
                source: with_source(&error).into(),
            },
        }
    }
}

/// Refuses settings under which nothing would work.
fn check(config: &Config) -> Result<(), ConnectError> {
    let milliseconds = |field, value: Duration, longest: u128| {
        if (1..=longest).contains(&value.as_millis()) {
            return Ok(());
        }
        Err(ConnectError::InvalidConfig {
            field,
            problem: format!("{value:?} is not between 1 ms and {longest} ms"),
        })
    };
    // The server counts in 32 bits.
    let longest_statement = i32::MAX.unsigned_abs().into();
    let one_day = 86_400_000;
    milliseconds(
        "statement_timeout",
        config.statement_timeout,
        longest_statement,
    )?;
    milliseconds("connect_timeout", config.connect_timeout, one_day)?;
    if let Some(interval) = config.janitor_interval {
        milliseconds("janitor_interval", interval, one_day)?;
    }
    if let Some(period) = config.replan_period {
        milliseconds("replan_period", period, 365 * one_day)?;
    }
    if config.pool_size == 0 {
        let problem = "0 connections are not enough for anything".to_owned();
        return Err(ConnectError::InvalidConfig {
            field: "pool_size",
            problem,
        });
    }
    Ok(())
}

fn is_supported(version: &str) -> bool {
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    major
        .parse::<u32>()
        .is_ok_and(|major| major >= OLDEST_SERVER)
}

/// tokio-postgres says what it was doing and leaves the reason to the source.
fn with_source(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_older_than_14_and_others_are_not_supported() {
        for good in ["14.0", "15.18 (Debian 15.18-0+deb12u1)", "18beta1"] {
            assert!(is_supported(good), "{good}");
        }
        for bad in ["13.22", "9.6.24", "unknown", "", "CockroachDB"] {
            assert!(!is_supported(bad), "{bad}");
        }
    }

    #[test]
    fn a_vanished_server_is_given_up_unless_the_url_says_otherwise() {
        let of = |url: &str| Target::new(&Config::new(url)).unwrap().config;
        let ours = of("postgres://u@h/db");
        assert_eq!(ours.get_tcp_user_timeout(), Some(&VANISHED));
        assert_eq!(ours.get_keepalives_idle(), VANISHED / 2);
        let theirs =
            of("postgres://u@h/db?tcp_user_timeout=5&keepalives_idle=7&keepalives_retries=9");
        assert_eq!(theirs.get_tcp_user_timeout(), Some(&Duration::from_secs(5)));
        assert_eq!(theirs.get_keepalives_idle(), Duration::from_secs(7));
        assert_eq!(theirs.get_keepalives_retries(), Some(9));
    }

    #[test]
    fn an_unusable_url_is_named_without_its_password() {
        for url in [
            "",
            "not a url",
            "postgres://u:secret@h:port/db",
            "user=a password=secret",
        ] {
            let error = Target::new(&Config::new(url)).err().map(|e| e.to_string());
            let error = error.unwrap_or_else(|| panic!("{url} was taken"));
            assert!(error.starts_with("not a usable database URL"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
