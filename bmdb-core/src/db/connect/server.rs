//! One server of a URL: how it is connected to, and whether it is one to work with.

use super::timeouts::Timeouts;
use crate::db::passfile::{self, Login};
use crate::db::tls::Tls;
use crate::db::url::{DatabaseUrl, Place};
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

/// The oldest PostgreSQL that has all we use.
const OLDEST_SERVER: u32 = 14;

/// After this time without any sign of life from the server's host, a TCP connection is given up.
const VANISHED: Duration = Duration::from_secs(30);

/// What `target_session_attrs` asks of a server.
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

    /// What is looked for among all servers, in turn.
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

    /// What a server that will not do is not.
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
    /// Host and port, or socket, for people.
    name: String,
    place: Place,
    config: PgConfig,
    tls: Tls,
    /// Where its password is, if the URL does not have it.
    passfile: Option<Passfile>,
}

#[derive(Clone)]
struct Passfile {
    path: PathBuf,
    /// Whether it is the one in the home folder, which need not be there.
    is_default: bool,
}

impl Server {
    pub(super) fn new(
        url: &DatabaseUrl,
        place: Place,
        home: Option<&Path>,
        component: &str,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let tls = Tls::of(url, &place, home)?;
        let mut config = PgConfig::new();
        config.host(&place.host).port(place.port);
        if let Some(address) = place.address {
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
        // Without these, an operation whose peer has vanished without a word waits for hours.
        let seconds = |name, ours: Duration| {
            let theirs = url
                .number(name)
                .map(|seconds| Duration::from_secs(seconds.into()));
            theirs.unwrap_or(ours)
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
            name: place.to_string(),
            passfile: match url.get("password") {
                Some(_) => None,
                None => named.or(default),
            },
            place,
            config,
            tls,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Finds what is wrong with files. Blocks.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        self.read_files().map(drop)
    }

    /// Files are read whenever a connection is made: certificates and passwords are changed while
    /// programs run. Blocks.
    fn read_files(&self) -> Result<(Option<MakeRustlsConnect>, Option<String>), ConnectError> {
        let tls = self.tls.load()?;
        let Some(passfile) = &self.passfile else {
            return Ok((tls, None));
        };
        let user = self.config.get_user().unwrap_or_default();
        let login = Login {
            place: &self.place,
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
            .map_err(|source| ConnectError::SetUp {
                target: self.name.clone(),
                source,
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
        let mut told = None;
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
            // Of two refusals for want of the right mode, that of the encrypted one says more.
            if told.is_none() || *mode != SslMode::Disable || !other_mode_may_do {
                told = Some(error);
            }
            if !other_mode_may_do {
                break;
            }
        }
        Err(told.unwrap_or_else(|| unreachable!("there is a way to connect at least")))
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
            source: source.into(),
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
            let source = text.into();
            return ConnectError::Tls { target, source };
        }
        match from_the_system {
            Some(io) if !is_garbled(io) => self.unreachable(text),
            None if !error.to_string().contains("unexpected message") => self.unreachable(text),
            _ => ConnectError::NotPostgres {
                target,
                source: text.into(),
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
            // Whether it is needed is not known, and libpq goes on as well.
            tracing::warn!(path = %self.path.display(), problem, "not used");
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

/// Whether the server may accept a connection that is encrypted, if this one was not, or the other way
/// round. 28000 is what it says when no line of its `pg_hba.conf` is for such connections.
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

/// Failures of TLS come as errors of input or output.
fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// A server that breaks the protocol is reported as an I/O error of these kinds; one that hangs up
/// within a message as `Other`. One that hangs up before it has said whether it encrypts, or while it
/// begins to, is gone, and breaks nothing.
fn is_garbled(error: &io::Error) -> bool {
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

/// tokio-postgres says what it was doing and leaves the reason to the source.
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
        let place = url.places().remove(0);
        let server = Server::new(&url, place, None, "component", VANISHED);
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
    fn a_vanished_server_is_given_up_unless_the_url_says_otherwise() {
        let ours = of("postgres://u@h/db");
        assert_eq!(ours.get_tcp_user_timeout(), Some(&VANISHED));
        assert_eq!(ours.get_keepalives_idle(), VANISHED / 2);
        let theirs =
            of("postgres://u@h/db?tcp_user_timeout=5000&keepalives_idle=7&keepalives_count=9");
        assert_eq!(theirs.get_tcp_user_timeout(), Some(&Duration::from_secs(5)));
        assert_eq!(theirs.get_keepalives_idle(), Duration::from_secs(7));
        assert_eq!(theirs.get_keepalives_retries(), Some(9));
    }

    #[test]
    fn a_connection_is_named_after_the_component_unless_the_url_names_it() {
        let name = |url| of(url).get_application_name().map(ToOwned::to_owned);
        assert_eq!(name("host=h").as_deref(), Some("component"));
        assert_eq!(name("host=h application_name=a").as_deref(), Some("a"));
    }
}
