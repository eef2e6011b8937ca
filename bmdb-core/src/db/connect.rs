//! Connecting: from a URL to a connection to a usable server.

mod attempt;
mod driver;
mod error_scanner;
mod explain;
mod liveness;
mod negotiation;
mod role;
mod server;
mod socket;
mod stream;
mod timeouts;

use crate::db::url::{DatabaseUrl, Environment, UrlError};
use crate::error::ConnectError;
use attempt::Connected;
use bmdb_model::internal::connection::ConnectionInfo;
use bmdb_model::internal::notify::Notify;
use diesel_async::AsyncPgConnection;
pub(crate) use driver::instrument;
use role::Role;
use server::{Limit, Server};
use std::sync::Arc;
use std::time::Duration;
use timeouts::Timeouts;
use tokio::time::Instant;

/// The settings that connecting needs.
pub(crate) struct ConnectSettings<'a> {
    pub(crate) url: &'a str,
    /// Supplies what the URL leaves out.
    pub(crate) environment: Option<&'a Environment>,
    /// The connection's name, unless the URL has one.
    pub(crate) component: &'a str,
    pub(crate) connect_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    /// Whether planning notifies pollers, if the engine can.
    pub(crate) notify: bool,
}

/// The servers of a validated URL, with this component's settings.
#[derive(Clone)]
pub(crate) struct Target {
    servers: Arc<[Server]>,
    role: Role,
    is_shuffled: bool,
    /// For each address of each server.
    limit: Duration,
    /// For waiting for a connection of the pool.
    pool_timeout: Duration,
    statement_timeout: Duration,
    timeouts: Timeouts,
    notify: bool,
}

impl Target {
    pub(crate) fn new(settings: &ConnectSettings<'_>) -> Result<Self, ConnectError> {
        let unusable = |error: UrlError| ConnectError::InvalidUrl(error.to_string());
        let mut url: DatabaseUrl = settings.url.parse().map_err(unusable)?;
        url = match settings.environment {
            Some(environment) => url.filled_from(environment),
            None => url.filled_from_service(None),
        }
        .map_err(unusable)?;
        let home = settings.environment.and_then(Environment::home);
        let hosts = url.hosts();
        let Ok(servers @ 1..) = u32::try_from(hosts.len()) else {
            let unset = match settings.environment {
                Some(_) => ", and PGHOST is not set",
                None => "",
            };
            return Err(ConnectError::InvalidUrl(format!("it names no host{unset}")));
        };
        // Zero and less mean no limit in libpq, but a program must not hang for ever. libpq takes one second
        // for two, because its clock counts in seconds.
        let limit = match url.number("connect_timeout") {
            Some(seconds @ 1..) => Duration::from_secs(seconds.max(2).into()),
            _ => settings.connect_timeout / servers,
        };
        let servers: Result<Arc<[Server]>, ConnectError> = hosts
            .into_iter()
            .map(|host| Server::new(&url, host, home.as_deref(), settings.component))
            .collect();
        Ok(Self {
            servers: servers?,
            role: Role::of(url.get("target_session_attrs")),
            is_shuffled: url.get("load_balance_hosts") == Some("random"),
            limit,
            pool_timeout: settings.connect_timeout,
            statement_timeout: settings.statement_timeout,
            timeouts: Timeouts::new(
                settings.statement_timeout,
                settings.lock_timeout,
                url.get("options"),
            ),
            notify: settings.notify,
        })
    }

    /// Checks the files of certificates, keys and passwords. Blocks.
    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        self.servers.iter().try_for_each(Server::check)
    }

    /// The same for the heartbeat, which cannot use an answer that takes the server longer than this.
    pub(crate) fn for_heartbeat(&self, timeout: Duration) -> Self {
        Self {
            timeouts: self.timeouts.at_most(timeout),
            ..self.clone()
        }
    }

    /// The same for the cleanup, where one statement that waits for a lock delays the others.
    pub(crate) fn for_cleanup(&self, lock_timeout: Duration) -> Self {
        Self {
            timeouts: self.timeouts.lock_at_most(lock_timeout),
            ..self.clone()
        }
    }

    /// The same for migrations, which may take any time even if the URL sets limits.
    pub(crate) fn for_migration(&self) -> Self {
        Self {
            timeouts: self.timeouts.none(),
            ..self.clone()
        }
    }

    /// How long an operation waits for a free connection at most.
    pub(crate) fn pool_timeout(&self) -> Duration {
        self.pool_timeout
    }

    /// How long the server works on one statement at most.
    pub(crate) fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// How many servers connecting tries at most; a server of several addresses counts once.
    fn tries(&self) -> u32 {
        let tries = self.servers.len() * self.role.rounds().len();
        u32::try_from(tries).unwrap_or(u32::MAX)
    }

    /// Whether planning on such a connection notifies pollers.
    pub(crate) fn notify(&self, info: &ConnectionInfo) -> Notify {
        if self.notify && info.engine.has_listen_notify() {
            Notify::On
        } else {
            Notify::Off
        }
    }

    /// Hosts and ports, without user and password.
    pub(crate) fn describe(&self) -> String {
        let names: Vec<&str> = self.servers.iter().map(Server::name).collect();
        names.join(", ")
    }

    /// Connects to the first usable server that answers within its limit.
    ///
    /// Unlike in libpq, a server that refuses the password does not end the search: only the reasons of
    /// all servers show which of them was not meant to know it.
    pub(crate) async fn connect(
        &self,
    ) -> Result<(AsyncPgConnection, ConnectionInfo), ConnectError> {
        let Connected { conn, info, .. } = self.connect_listening().await?;
        Ok((conn, info))
    }

    /// The same with the notifications that the connection receives.
    pub(crate) async fn connect_listening(&self) -> Result<Connected, ConnectError> {
        let limit = Limit {
            address: self.limit,
            server: None,
        };
        self.connect_within(limit).await
    }

    /// Connects until this moment, with an equal share of the time for each server: the heartbeat's lease
    /// must not run out on the first of several servers.
    pub(crate) async fn connect_by(
        &self,
        until: Instant,
    ) -> Result<(AsyncPgConnection, ConnectionInfo), ConnectError> {
        let left = until.saturating_duration_since(Instant::now());
        let limit = Limit {
            address: self.limit,
            server: Some(left / self.tries()),
        };
        let Connected { conn, info, .. } = self.connect_within(limit).await?;
        Ok((conn, info))
    }

    async fn connect_within(&self, limit: Limit) -> Result<Connected, ConnectError> {
        let mut reasons = Vec::new();
        for role in self.role.rounds() {
            reasons.clear();
            for server in self.in_order() {
                // Boxed: connecting is rare, and its future large and deep for those that contain it.
                let connecting = server.connect(&self.timeouts, *role, limit, self.is_shuffled);
                match limit.apply(server.name(), Box::pin(connecting)).await {
                    Ok(connected) => return Ok(connected),
                    Err(reason) => reasons.push(reason),
                }
            }
        }
        match reasons.pop() {
            Some(only) if reasons.is_empty() => Err(only),
            last => {
                reasons.extend(last);
                Err(ConnectError::NoServer(reasons))
            }
        }
    }

    fn in_order(&self) -> Vec<&Server> {
        let mut servers: Vec<&Server> = self.servers.iter().collect();
        if self.is_shuffled {
            servers.sort_by_cached_key(|_| uuid::Uuid::new_v4());
        }
        servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::config::Config;

    #[test]
    fn the_error_of_an_unusable_url_omits_the_password() {
        for url in [
            "",
            "not a url",
            "postgres://u:secret@h:port/db",
            "user=a password=secret",
        ] {
            let error = Config::new(url).target().err().map(|e| e.to_string());
            let error = error.unwrap_or_else(|| panic!("{url} was taken"));
            assert!(error.starts_with("not a usable database URL"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn several_servers_share_the_timeout_unless_the_url_sets_one_for_each() {
        for (url, each) in [
            ("host=h", 10),
            ("host=a,b", 5),
            ("host=a,b connect_timeout=7", 7),
            ("host=a,b connect_timeout=0", 5),
            ("host=a connect_timeout=-1", 10),
            ("host=a connect_timeout=1", 2),
            ("host=a,b target_session_attrs=prefer-standby", 5),
        ] {
            let target = Config::new(url).target().unwrap();
            assert_eq!(target.limit, Duration::from_secs(each), "{url}");
        }
    }
}
