//! One server of a URL: how to connect to it, and whether it is usable.

use super::attempt::{Attempt, Connected};
use super::explain::{Peer, of_all_addresses};
use super::liveness::Liveness;
use super::role::Role;
use super::socket::Address;
use super::timeouts::Timeouts;
use crate::db::passfile::{Login, Passfile};
use crate::db::tls::Tls;
use crate::db::url::{DatabaseUrl, Host};
use crate::error::ConnectError;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::Config as PgConfig;
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};
use tokio_postgres_rustls::MakeRustlsConnect;

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

/// How long connecting to one server may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// For each of its addresses, as in libpq.
    pub(super) address: Duration,
    /// For all of them, in equal shares.
    pub(super) server: Option<Duration>,
}

impl Limit {
    /// Bounds all that connecting to a server takes, also its files and looking up its name, so that the next
    /// server is asked in time.
    pub(super) async fn apply<T>(
        self,
        name: &str,
        connecting: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        match self.server {
            None => connecting.await,
            Some(limit) => {
                let connected = timeout(limit, connecting).await;
                connected.map_err(|_| late(name, limit))?
            }
        }
    }

    fn of_each(self, addresses: usize) -> Duration {
        let addresses = u32::try_from(addresses).unwrap_or(u32::MAX);
        match self.server {
            Some(all) => self.address.min(all / addresses.max(1)),
            None => self.address,
        }
    }
}

/// What the files of a server say.
struct Files {
    tls: Option<MakeRustlsConnect>,
    /// From a password file, as bytes: it need not be UTF-8.
    password: Option<Vec<u8>>,
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
        match url.get("user") {
            Some(user) => config.user(user),
            // tokio-postgres would ask for it as well, but the password file needs it too.
            None => match whoami::username() {
                Ok(user) => config.user(user),
                Err(error) => {
                    let problem =
                        format!("it names no user, and that of the system is unknown: {error}");
                    return Err(ConnectError::InvalidUrl(problem));
                }
            },
        };
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
        Ok(Self {
            name: host.to_string(),
            passfile: match url.get("password") {
                Some(_) => None,
                None => Passfile::of(url, home),
            },
            host,
            config,
            liveness: Liveness::of(url),
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
    fn read_files(&self) -> Result<Files, ConnectError> {
        let tls = self.tls.load()?;
        let user = self.config.get_user().unwrap_or_default();
        let login = Login {
            host: &self.host,
            database: self.config.get_dbname().unwrap_or(user),
            user,
        };
        let password = self.passfile.as_ref();
        let password = password.and_then(|passfile| passfile.password(&login));
        Ok(Files { tls, password })
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
        let Files { tls, password } =
            read.map_err(|error| self.peer(&self.name).unreachable(error))??;
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
                peer: self.peer(&name),
                hostname: &self.host.name,
                liveness: &self.liveness,
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
