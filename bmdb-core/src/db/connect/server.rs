//! One server of a URL: how to connect to it, and whether it is usable.

use super::timeouts::Timeouts;
use crate::db::passfile::{self, Login};
use crate::db::tls::Tls;
use crate::db::url::{DatabaseUrl, Host};
use crate::error::ConnectError;
use bmdb_model::internal::connection::{ConnectionInfo, set_up};
use diesel_async::AsyncPgConnection;
use rustls::Error as TlsError;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config as PgConfig, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The oldest PostgreSQL that has all features we use.
const OLDEST_SERVER: u32 = 14;

/// How long a TCP connection waits for a server's host that has vanished.
const VANISHED: Duration = Duration::from_secs(30);

/// The kind of server that `target_session_attrs` requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl Role {
    pub(super) fn of(value: Option<&str>) -> Self {
        match value {
            Some("read-write") => Self::ReadWrite,
            Some("read-only") => Self::ReadOnly,
            Some("primary") => Self::Primary,
            Some("standby") => Self::Standby,
            Some("prefer-standby") => Self::PreferStandby,
            _ => Self::Any,
        }
    }

    /// The kinds to look for among all servers, one after another.
    pub(super) const fn rounds(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::ReadWrite => &[Self::ReadWrite],
            Self::ReadOnly => &[Self::ReadOnly],
            Self::Primary => &[Self::Primary],
            Self::Standby => &[Self::Standby],
            Self::PreferStandby => &[Self::Standby, Self::Any],
        }
    }

    /// The kind that the server is not; `None` if the server is suitable.
    fn missing(self, info: &ConnectionInfo) -> Option<&'static str> {
        let (fits, wanted) = match self {
            Self::Any | Self::PreferStandby => return None,
            Self::ReadWrite => (!info.is_read_only, "one that accepts writes"),
            Self::ReadOnly => (info.is_read_only, "a read-only one"),
            Self::Primary => (!info.is_standby, "a primary"),
            Self::Standby => (info.is_standby, "a standby"),
        };
        (!fits).then_some(wanted)
    }
}

#[derive(Clone)]
pub(super) struct Server {
    /// Host and port, or socket, for error messages.
    name: String,
    host: Host,
    config: PgConfig,
    tls: Tls,
    /// The file with the password, unless the URL has it.
    passfile: Option<Passfile>,
}

#[derive(Clone)]
struct Passfile {
    path: PathBuf,
    /// Whether it is the one in the home folder, which need not exist.
    is_default: bool,
}

impl Server {
    pub(super) fn new(
        url: &DatabaseUrl,
        host: Host,
        home: Option<&Path>,
        component: &str,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let tls = Tls::of(url, &host, home)?;
        let mut config = PgConfig::new();
        config.host(&host.name).port(host.port);
        if let Some(address) = host.address {
            config.hostaddr(address);
        }
        if let Some(user) = url.get("user") {
            config.user(user);
        }
        if let Some(database) = url.get("dbname") {
            config.dbname(database);
        }
        if let Some(password) = url.get("password") {
            config.password(password);
        }
        config.application_name(url.get("application_name").unwrap_or(component));
        config.channel_binding(match url.get("channel_binding") {
            Some("disable") => ChannelBinding::Disable,
            Some("require") => ChannelBinding::Require,
            _ => ChannelBinding::Prefer,
        });
        config.ssl_negotiation(tls.negotiation());
        config.connect_timeout(limit);
        // Without these, an operation waits for hours if its peer vanishes without closing the connection.
        let seconds = |name, default: Duration| {
            let seconds = url
                .number(name)
                .map(|seconds| Duration::from_secs(seconds.into()));
            seconds.unwrap_or(default)
        };
        let milliseconds = url
            .number("tcp_user_timeout")
            .map(|ms| Duration::from_millis(ms.into()));
        config.tcp_user_timeout(milliseconds.unwrap_or(VANISHED));
        config.keepalives(url.get("keepalives") != Some("0"));
        config.keepalives_idle(seconds("keepalives_idle", VANISHED / 2));
        config.keepalives_interval(seconds("keepalives_interval", VANISHED / 6));
        config.keepalives_retries(url.number("keepalives_count").unwrap_or(3));
        let named = url.get("passfile").map(|path| Passfile {
            path: path.into(),
            is_default: false,
        });
        let default = home.map(|home| Passfile {
            path: home.join(".pgpass"),
            is_default: true,
        });
        Ok(Self {
            name: host.to_string(),
            passfile: match url.get("password") {
                Some(_) => None,
                None => named.or(default),
            },
            host,
            config,
            tls,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Checks the files of certificates, keys and passwords. Blocks.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        self.read_files().map(drop)
    }

    /// Reads the files for a new connection, because certificates and passwords change while programs run.
    /// Blocks.
    fn read_files(&self) -> Result<(Option<MakeRustlsConnect>, Option<String>), ConnectError> {
        let tls = self.tls.load()?;
        let Some(passfile) = &self.passfile else {
            return Ok((tls, None));
        };
        let user = self.config.get_user().unwrap_or_default();
        let login = Login {
            host: &self.host,
            database: self.config.get_dbname().unwrap_or(user),
            user,
        };
        Ok((tls, passfile.password(&login)?))
    }

    pub(super) async fn connect(
        &self,
        timeouts: &Timeouts,
        role: Role,
    ) -> Result<(AsyncPgConnection, ConnectionInfo), ConnectError> {
        let server = self.clone();
        let reading = tokio::task::spawn_blocking(move || server.read_files());
        let (tls, password) = reading.await.map_err(|error| self.unreachable(error))??;
        let mut config = self.config.clone();
        config.options(timeouts.options());
        if let Some(password) = password {
            config.password(password);
        }
        let mut conn = self.try_each_mode(config, tls).await?;
        let info = set_up(&mut conn)
            .await
            .map_err(|reason| ConnectError::SetUp {
                target: self.name.clone(),
                reason,
            })?;
        info.check_encoding()
            .map_err(|encoding| ConnectError::NotUtf8 {
                target: self.name.clone(),
                encoding,
            })?;
        match role.missing(&info) {
            None => Ok((conn, info)),
            Some(wanted) => Err(ConnectError::OtherRole {
                target: self.name.clone(),
                wanted,
            }),
        }
    }

    async fn try_each_mode(
        &self,
        mut config: PgConfig,
        tls: Option<MakeRustlsConnect>,
    ) -> Result<AsyncPgConnection, ConnectError> {
        let mut refusal = None;
        for mode in self.tls.tries() {
            config.ssl_mode(*mode);
            let tried = match tls.clone() {
                Some(tls) => self.open(&config, tls).await,
                None => self.open(&config, NoTls).await,
            };
            let error = match tried {
                Ok(conn) => return Ok(conn),
                Err(error) => error,
            };
            let other_mode_may_do = is_about_encryption(&error);
            // If both modes are refused, the refusal of the encrypted one says more.
            if refusal.is_none() || *mode != SslMode::Disable || !other_mode_may_do {
                refusal = Some(error);
            }
            if !other_mode_may_do {
                break;
            }
        }
        Err(refusal.unwrap_or_else(|| unreachable!("every mode has at least one attempt")))
    }

    async fn open<T>(&self, config: &PgConfig, tls: T) -> Result<AsyncPgConnection, ConnectError>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let connected = config.connect(tls).await;
        let (client, connection) = connected.map_err(|error| self.explain(&error))?;
        let version = connection
            .parameter("server_version")
            .unwrap_or("unknown")
            .to_owned();
        if !is_supported(&version) {
            return Err(ConnectError::UnsupportedServer {
                target: self.name.clone(),
                version,
            });
        }
        AsyncPgConnection::try_from_client_and_connection(client, connection)
            .await
            .map_err(|error| self.unreachable(error))
    }

    fn unreachable(&self, source: impl Into<Box<dyn Error + Send + Sync>>) -> ConnectError {
        ConnectError::Unreachable {
            target: self.name.clone(),
            reason: source.into(),
        }
    }

    fn explain(&self, error: &tokio_postgres::Error) -> ConnectError {
        let target = self.name.clone();
        if let Some(refusal) = error.as_db_error() {
            return ConnectError::Refused {
                target,
                message: refusal.message().to_owned(),
                code: refusal.code().code().to_owned(),
            };
        }
        let cause = error.source();
        let from_the_system = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
        if let Some(tls) = from_the_system.and_then(tls_error) {
            return self.tls.explain(target, tls);
        }
        let text = with_source(error);
        if text.contains("server does not support TLS") {
            return ConnectError::NotEncrypted { target };
        }
        if error.to_string().contains("TLS handshake") {
            let reason = text.into();
            return ConnectError::Tls { target, reason };
        }
        match from_the_system {
            Some(io) if !violates_protocol(io) => self.unreachable(text),
            None if !error.to_string().contains("unexpected message") => self.unreachable(text),
            _ => ConnectError::NotPostgres {
                target,
                reason: text.into(),
            },
        }
    }
}

impl Passfile {
    fn password(&self, login: &Login<'_>) -> Result<Option<String>, ConnectError> {
        let wrong = |problem: String| ConnectError::UnusableFile {
            parameter: "passfile",
            path: self.path.clone(),
            problem,
        };
        let Ok(metadata) = fs::metadata(&self.path) else {
            return match self.is_default {
                true => Ok(None),
                false => Err(wrong("it cannot be read, or is not there".to_owned())),
            };
        };
        if let Some(mode) = open_to_others(&metadata) {
            let problem = format!("others may read or change it (mode {mode:04o}); make that 0600");
            if !self.is_default {
                return Err(wrong(problem));
            }
            // The password may not be needed, and libpq continues as well.
            tracing::warn!(path = %self.path.display(), problem, "the password file is ignored");
            return Ok(None);
        }
        let text = fs::read_to_string(&self.path).map_err(|error| wrong(error.to_string()))?;
        Ok(passfile::find(&text, login))
    }
}

#[cfg(unix)]
fn open_to_others(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let mode = metadata.mode() & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn open_to_others(_: &fs::Metadata) -> Option<u32> {
    None
}

/// Whether the server may accept an encrypted connection instead of an unencrypted one, or vice versa. It
/// answers 28000 if no line of its `pg_hba.conf` matches the connection.
fn is_about_encryption(error: &ConnectError) -> bool {
    match error {
        ConnectError::Refused { code, .. } => {
            *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION.code()
        }
        ConnectError::NotEncrypted { .. }
        | ConnectError::ServerNotTrusted { .. }
        | ConnectError::ClientNotTrusted { .. }
        | ConnectError::Tls { .. } => true,
        _ => false,
    }
}

/// The TLS error inside an I/O error.
fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// Whether an I/O error means that the server violates the protocol. A server that closes the connection
/// before or during the TLS handshake does not.
fn violates_protocol(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => true,
        io::ErrorKind::UnexpectedEof => !matches!(
            error.to_string().as_str(),
            "early eof" | "tls handshake eof"
        ),
        _ => false,
    }
}

fn is_supported(version: &str) -> bool {
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    major
        .parse::<u32>()
        .is_ok_and(|major| major >= OLDEST_SERVER)
}

/// The error of tokio-postgres with its source, which contains the reason.
fn with_source(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> PgConfig {
        let url: DatabaseUrl = url.parse().unwrap();
        let host = url.hosts().remove(0);
        let server = Server::new(&url, host, None, "component", VANISHED);
        server.map(|server| server.config).unwrap()
    }

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
    fn a_vanished_server_is_given_up_after_a_default_time_that_the_url_overrides() {
        let default = of("postgres://u@h/db");
        assert_eq!(default.get_tcp_user_timeout(), Some(&VANISHED));
        assert_eq!(default.get_keepalives_idle(), VANISHED / 2);
        let overridden =
            of("postgres://u@h/db?tcp_user_timeout=5000&keepalives_idle=7&keepalives_count=9");
        assert_eq!(
            overridden.get_tcp_user_timeout(),
            Some(&Duration::from_secs(5))
        );
        assert_eq!(overridden.get_keepalives_idle(), Duration::from_secs(7));
        assert_eq!(overridden.get_keepalives_retries(), Some(9));
    }

    #[test]
    fn a_connection_is_named_after_the_component_unless_the_url_names_it() {
        let name = |url| of(url).get_application_name().map(ToOwned::to_owned);
        assert_eq!(name("host=h").as_deref(), Some("component"));
        assert_eq!(name("host=h application_name=a").as_deref(), Some("a"));
    }
}
