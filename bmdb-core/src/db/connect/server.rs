//! One server of a URL: how to connect to it, and whether it is usable.

use super::driver::{self, Payloads};
use super::explain::{Peer, of_all_addresses};
use super::negotiation::Encryption;
use super::role::Role;
use super::socket::{Address, Keepalives, Liveness, Socket};
use super::stream::Negotiated;
use super::timeouts::Timeouts;
use crate::db::passfile::{self, Login};
use crate::db::tls::Tls;
use crate::db::url::{DatabaseUrl, Host};
use crate::error::ConnectError;
use bmdb_model::internal::connection::{ConnectionInfo, set_up};
use diesel_async::AsyncPgConnection;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::Config as PgConfig;
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The oldest PostgreSQL that has all features we use.
const OLDEST_SERVER: u32 = 14;

/// How long a TCP connection waits for a server's host that has vanished.
const VANISHED: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(super) struct Server {
    /// Host and port, or socket, for error messages.
    name: String,
    host: Host,
    /// Who logs in to what; the socket and its encryption are ours.
    config: PgConfig,
    liveness: Liveness,
    tls: Tls,
    /// The file with the password, unless the URL has it.
    passfile: Option<Passfile>,
}

/// A connection that is ready for statements.
pub(crate) struct Connected {
    pub(crate) conn: AsyncPgConnection,
    pub(crate) info: ConnectionInfo,
    /// The notifications that it receives. diesel-async's own stream of them stays empty.
    pub(crate) payloads: Payloads,
}

/// How long connecting to one server may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// For each of its addresses, as in libpq.
    pub(super) address: Duration,
    /// For all of them, in equal shares.
    pub(super) server: Option<Duration>,
}

impl Limit {
    fn of_each(self, addresses: usize) -> Duration {
        let addresses = u32::try_from(addresses).unwrap_or(u32::MAX);
        match self.server {
            Some(all) => self.address.min(all / addresses.max(1)),
            None => self.address,
        }
    }
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
    ) -> Result<Self, ConnectError> {
        let tls = Tls::of(url, &host, home)?;
        let mut config = PgConfig::new();
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
        // What tokio-postgres gets is negotiated already: see `Negotiated`.
        config.ssl_mode(SslMode::Require);
        config.ssl_negotiation(SslNegotiation::Direct);
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
            liveness: liveness(url),
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

    /// Connects to the first of the server's addresses that answers in time and has this role.
    pub(super) async fn connect(
        &self,
        timeouts: &Timeouts,
        role: Role,
        limit: Limit,
        is_shuffled: bool,
    ) -> Result<Connected, ConnectError> {
        let server = self.clone();
        let reading = tokio::task::spawn_blocking(move || server.read_files());
        let whole = limit.of_each(1);
        let read = timeout(whole, reading).await;
        let read = read.map_err(|_| late(&self.name, whole))?;
        let (tls, password) = read.map_err(|error| self.peer(&self.name).unreachable(error))??;
        let mut config = self.config.clone();
        config.options(timeouts.options());
        if let Some(password) = password {
            config.password(password);
        }
        let found = timeout(whole, Address::all_of(&self.host)).await;
        let found = found.map_err(|_| late(&self.name, whole))?;
        let mut addresses = found.map_err(|error| self.peer(&self.name).unreachable(error))?;
        if is_shuffled {
            addresses.sort_by_cached_key(|_| uuid::Uuid::new_v4());
        }
        let each = limit.of_each(addresses.len());
        self.connect_to(&addresses, &config, tls.as_ref(), role, each)
            .await
    }

    /// Connects to the first of these addresses that is usable and answers within this limit.
    async fn connect_to(
        &self,
        addresses: &[Address],
        config: &PgConfig,
        tls: Option<&MakeRustlsConnect>,
        role: Role,
        limit: Duration,
    ) -> Result<Connected, ConnectError> {
        let mut errors = Vec::new();
        for address in addresses {
            let name = match addresses.len() {
                1 => self.name.clone(),
                _ => format!("{} ({address})", self.name),
            };
            let attempt = Attempt {
                server: self,
                name: &name,
                address,
                config,
                tls,
            };
            let connected = timeout(limit, attempt.connect(role)).await;
            match connected.map_err(|_| late(&name, limit)).flatten() {
                Ok(connected) => return Ok(connected),
                Err(error) => errors.push(error),
            }
        }
        Err(of_all_addresses(errors)
            .unwrap_or_else(|| unreachable!("every server has at least one address")))
    }

    fn peer<'a>(&'a self, name: &'a str) -> Peer<'a> {
        Peer {
            name,
            tls: &self.tls,
        }
    }
}

fn late(target: &str, limit: Duration) -> ConnectError {
    ConnectError::Timeout {
        target: target.to_owned(),
        seconds: limit.as_secs_f64(),
    }
}

/// How a connection notices that its server has vanished. Without these limits, an operation waits for hours if
/// its peer vanishes without closing the connection.
fn liveness(url: &DatabaseUrl) -> Liveness {
    // As libpq documents it, zero means the system's own time.
    let number = |name, default: u32| match url.number(name) {
        None => Some(default),
        Some(0) => None,
        Some(given) => Some(given),
    };
    let seconds = |name, default: Duration| {
        let default = u32::try_from(default.as_secs()).unwrap_or(u32::MAX);
        number(name, default).map(|seconds| Duration::from_secs(seconds.into()))
    };
    let is_probed = url.get("keepalives") != Some("0");
    Liveness {
        user_timeout: match url.number("tcp_user_timeout") {
            None => Some(VANISHED),
            Some(0) => None,
            Some(milliseconds) => Some(Duration::from_millis(milliseconds.into())),
        },
        keepalives: is_probed.then(|| Keepalives {
            idle: seconds("keepalives_idle", VANISHED / 2),
            interval: seconds("keepalives_interval", VANISHED / 6),
            count: number("keepalives_count", 3),
        }),
    }
}

/// One try to connect to one address of a server.
struct Attempt<'a> {
    server: &'a Server,
    /// The server's, with the address if it has several.
    name: &'a str,
    address: &'a Address,
    config: &'a PgConfig,
    tls: Option<&'a MakeRustlsConnect>,
}

impl Attempt<'_> {
    async fn connect(&self, role: Role) -> Result<Connected, ConnectError> {
        let (mut conn, payloads) = self.try_each_mode().await?;
        let target = || self.name.to_owned();
        let info = set_up(&mut conn)
            .await
            .map_err(|reason| ConnectError::SetUp {
                target: target(),
                reason,
            })?;
        info.check_encoding()
            .map_err(|encoding| ConnectError::NotUtf8 {
                target: target(),
                encoding,
            })?;
        match role.missing(&info) {
            None => Ok(Connected {
                conn,
                info,
                payloads,
            }),
            Some(wanted) => Err(ConnectError::OtherRole {
                target: target(),
                wanted,
            }),
        }
    }

    async fn try_each_mode(&self) -> Result<(AsyncPgConnection, Payloads), ConnectError> {
        let mut refusal = None;
        for mode in self.server.tls.tries() {
            let error = match self.open(*mode).await {
                Ok(opened) => return Ok(opened),
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

    async fn open(&self, mode: SslMode) -> Result<(AsyncPgConnection, Payloads), ConnectError> {
        let peer = self.server.peer(self.name);
        let socket = Socket::connect(self.address, &self.server.liveness).await;
        let socket = socket.map_err(|error| peer.unreachable(error))?;
        let encryption = Encryption {
            mode,
            is_direct: self.server.tls.is_direct(),
            tls: self.tls.cloned(),
            hostname: self.server.host.name.clone(),
        };
        let stream = encryption.negotiate(socket).await;
        let stream = stream.map_err(|error| peer.explain_negotiation(error))?;
        let started = self.config.connect_raw(stream, Negotiated).await;
        let (client, connection) = started.map_err(|error| peer.explain_startup(&error))?;
        let version = connection
            .parameter("server_version")
            .unwrap_or("unknown")
            .to_owned();
        if !is_supported(&version) {
            return Err(ConnectError::UnsupportedServer {
                target: self.name.to_owned(),
                version,
            });
        }
        driver::drive(client, connection)
            .await
            .map_err(|error| peer.unreachable(error))
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

fn is_supported(version: &str) -> bool {
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    major
        .parse::<u32>()
        .is_ok_and(|major| major >= OLDEST_SERVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    fn of(url: &str) -> Server {
        let url: DatabaseUrl = url.parse().unwrap();
        let host = url.hosts().remove(0);
        Server::new(&url, host, None, "component").unwrap()
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
        let seconds = Duration::from_secs;
        let liveness = |parameters: &str| of(&format!("host=h {parameters}")).liveness;
        let probed = |idle, interval, count| {
            Some(Keepalives {
                idle,
                interval,
                count,
            })
        };
        let default = liveness("");
        assert_eq!(default.user_timeout, Some(VANISHED));
        assert_eq!(
            default.keepalives,
            probed(Some(seconds(15)), Some(seconds(5)), Some(3))
        );
        let given = liveness("tcp_user_timeout=5000 keepalives_idle=7 keepalives_count=9");
        assert_eq!(given.user_timeout, Some(seconds(5)));
        assert_eq!(
            given.keepalives,
            probed(Some(seconds(7)), Some(seconds(5)), Some(9))
        );
        let of_the_system = liveness(
            "tcp_user_timeout=0 keepalives_idle=0 keepalives_interval=0 keepalives_count=0",
        );
        assert_eq!(of_the_system.user_timeout, None);
        assert_eq!(of_the_system.keepalives, probed(None, None, None));
        assert_eq!(liveness("keepalives=0").keepalives, None);
    }

    #[test]
    fn a_connection_is_named_after_the_component_unless_the_url_names_it() {
        let name = |url| of(url).config.get_application_name().map(ToOwned::to_owned);
        assert_eq!(name("host=h").as_deref(), Some("component"));
        assert_eq!(name("host=h application_name=a").as_deref(), Some("a"));
    }

    /// A name may have an address where a firewall takes connections and says nothing; the server listens at
    /// the next. Here it is too old, which shows that it was asked.
    #[tokio::test]
    async fn an_address_that_takes_the_connection_and_is_silent_leaves_time_for_the_next() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [&silent, &old].map(|socket| Address::Tcp(socket.local_addr().unwrap()));
        tokio::spawn(async move {
            let (mut client, _) = old.accept().await.unwrap();
            let authenticated_and_ready = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
            client.write_all(authenticated_and_ready).await.unwrap();
            std::future::pending::<()>().await;
        });
        let server = of("host=db.example sslmode=disable user=u");
        let limit = Duration::from_millis(200);
        let connected = server.connect_to(&addresses, &server.config, None, Role::Any, limit);
        let Err(error) = connected.await else {
            panic!("connected to a server without a version");
        };
        assert!(
            matches!(&error, ConnectError::UnsupportedServer { target, .. }
                if target == "db.example:5432 (127.0.0.1)"),
            "{error:?}"
        );
    }

    #[test]
    fn each_address_has_the_limit_to_itself_unless_all_must_share_one() {
        let seconds = Duration::from_secs;
        let limit = |server| Limit {
            address: seconds(4),
            server,
        };
        assert_eq!(limit(None).of_each(3), seconds(4));
        assert_eq!(limit(Some(seconds(6))).of_each(3), seconds(2));
        assert_eq!(limit(Some(seconds(20))).of_each(3), seconds(4));
    }
}
