//! Connecting: from a URL to a connection whose server is known to be usable.

mod server;
mod timeouts;

use crate::db::config::Config;
use crate::db::url::{DatabaseUrl, UrlError};
use crate::error::ConnectError;
use bmdb_model::internal::connection::ConnectionInfo;
use bmdb_model::internal::notify::Notify;
use diesel_async::AsyncPgConnection;
use server::{Role, Server};
use std::sync::Arc;
use std::time::Duration;
use timeouts::Timeouts;
use tokio::time::Instant;

/// A validated URL with this component's settings.
#[derive(Clone)]
pub(crate) struct Target {
    servers: Arc<[Server]>,
    role: Role,
    is_shuffled: bool,
    /// For each server.
    limit: Duration,
    timeouts: Timeouts,
    notify: bool,
}

impl Target {
    pub(crate) fn new(config: &Config) -> Result<Self, ConnectError> {
        check(config)?;
        let unusable = |error: UrlError| ConnectError::InvalidUrl(error.to_string());
        let mut url: DatabaseUrl = config.url.parse().map_err(unusable)?;
        if let Some(environment) = &config.environment {
            url = url.filled_from(environment).map_err(unusable)?;
        }
        let home = config.environment.as_ref().and_then(|env| env.home());
        let places = url.places();
        let Ok(servers @ 1..) = u32::try_from(places.len()) else {
            let unset = match config.environment {
                Some(_) => ", and PGHOST is not set",
                None => "",
            };
            return Err(ConnectError::InvalidUrl(format!("it names no host{unset}")));
        };
        // 0 stands for as long as it takes, and a program that may hang for ever is nobody's wish.
        let limit = match url.number("connect_timeout") {
            Some(seconds @ 1..) => Duration::from_secs(seconds.into()),
            _ => config.connect_timeout / servers,
        };
        let servers: Result<Arc<[Server]>, ConnectError> = places
            .into_iter()
            .map(|place| Server::new(&url, place, home.as_deref(), &config.component, limit))
            .collect();
        Ok(Self {
            servers: servers?,
            role: Role::of(url.get("target_session_attrs")),
            is_shuffled: url.get("load_balance_hosts") == Some("random"),
            limit,
            timeouts: Timeouts::new(config, url.get("options")),
            notify: config.notify,
        })
    }

    /// Finds what is wrong with files. Blocks.
    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        self.servers.iter().try_for_each(Server::check)
    }

    /// The same for the heartbeat: what takes the server longer than this is of no use to it.
    pub(crate) fn for_heartbeat(&self, timeout: Duration) -> Self {
        Self {
            timeouts: self.timeouts.at_most(timeout),
            ..self.clone()
        }
    }

    /// The same for chores, of which one that waits for a lock keeps the others.
    pub(crate) fn for_chores(&self, lock_timeout: Duration) -> Self {
        Self {
            timeouts: self.timeouts.lock_at_most(lock_timeout),
            ..self.clone()
        }
    }

    /// The same for migrations, which may take any time, whatever the URL says.
    pub(crate) fn for_migration(&self) -> Self {
        Self {
            timeouts: self.timeouts.none(),
            ..self.clone()
        }
    }

    /// How long connecting takes at most.
    pub(crate) fn longest(&self) -> Duration {
        self.limit.saturating_mul(self.tries())
    }

    /// How often a server is tried, over all of them.
    fn tries(&self) -> u32 {
        let tries = self.servers.len() * self.role.rounds().len();
        u32::try_from(tries).unwrap_or(u32::MAX)
    }

    /// Whether planning on such a connection notifies.
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

    /// Connects to the first server that answers within its limit and is one we can work with.
    ///
    /// A server that refuses a password does not end the search, as it does for libpq: which of them
    /// was not meant to know it can only be seen in the reasons of all.
    pub(crate) async fn connect(
        &self,
    ) -> Result<(AsyncPgConnection, ConnectionInfo), ConnectError> {
        self.connect_within(self.limit).await
    }

    /// The same by this moment, of which each server gets an equal share: for the heartbeat, whose lease
    /// must not run out on the first server of several.
    pub(crate) async fn connect_by(
        &self,
        until: Instant,
    ) -> Result<(AsyncPgConnection, ConnectionInfo), ConnectError> {
        let left = until.saturating_duration_since(Instant::now());
        self.connect_within(self.limit.min(left / self.tries()))
            .await
    }

    async fn connect_within(
        &self,
        limit: Duration,
    ) -> Result<(AsyncPgConnection, ConnectionInfo), ConnectError> {
        let mut reasons = Vec::new();
        for role in self.role.rounds() {
            reasons.clear();
            for server in self.in_order() {
                // Boxed: it is rare, and large and deep for all the futures that contain it.
                let connecting = Box::pin(server.connect(&self.timeouts, *role));
                let connected = tokio::time::timeout(limit, connecting).await;
                let late = |_| ConnectError::Timeout {
                    target: server.name().to_owned(),
                    seconds: limit.as_secs_f64(),
                };
                match connected.map_err(late).flatten() {
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
    milliseconds("lock_timeout", config.lock_timeout, longest_statement)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn several_servers_share_the_time_unless_the_url_says_how_long_each_may_take() {
        for (url, each, all) in [
            ("host=h", 10, 10),
            ("host=a,b", 5, 10),
            ("host=a,b connect_timeout=7", 7, 14),
            ("host=a,b connect_timeout=0", 5, 10),
            ("host=a,b target_session_attrs=prefer-standby", 5, 20),
        ] {
            let target = Target::new(&Config::new(url)).unwrap();
            assert_eq!(target.limit, Duration::from_secs(each), "{url}");
            assert_eq!(target.longest(), Duration::from_secs(all), "{url}");
        }
    }
}
