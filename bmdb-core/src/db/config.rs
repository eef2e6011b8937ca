//! Configuration: how a component connects and behaves.

use crate::db::connect::{ConnectSettings, Target};
use crate::db::url::Environment;
use crate::error::ConnectError;
use bmdb_model::column::Column;
use bmdb_model::history::Retention;
use diesel_async::AsyncPgConnection;
use std::time::Duration;

/// How much of the history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum HistoryDetail {
    /// A failure with the same cause and interval as the one before it is folded into that row, as is a
    /// canceled attempt with the same cause, so a machine that fails the same way for weeks costs a handful
    /// of rows.
    #[default]
    Folded,
    /// Every attempt gets a row, for audits.
    Full,
}

impl HistoryDetail {
    /// Whether an end that equals the one before is folded into that one's row.
    pub(crate) fn folds(self) -> bool {
        self == Self::Folded
    }
}

/// How a component connects and behaves. Every field but the URL has a default.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// The database, as a URL (`postgres://user@host/database`) or as `key=value` pairs, with the
    /// parameters of libpq: see [`DatabaseUrl`](crate::DatabaseUrl).
    ///
    /// # Encryption
    /// `sslmode`, `sslrootcert` (a file, or `system`), `sslcert`, `sslkey`, `sslcrl` and so on mean what
    /// they mean in libpq, with one deliberate difference: without `sslmode`, the default for servers on
    /// other machines is `require` and not `prefer`. A server without TLS then needs `sslmode=disable`.
    /// `require` does not verify the server's identity unless `sslrootcert` names an authority; over
    /// networks that you do not control, use `sslmode=verify-full`.
    ///
    /// # Several servers
    /// `host=a,b` or `postgres://a,b/…` are tried in order; with `target_session_attrs=read-write`, until
    /// one accepts writes, for example after a fail-over.
    pub url: String,
    /// The component's name, a label of its sessions. Default: `bmdb`.
    pub component: String,
    /// Where and how the component runs, a label of its sessions. Default: empty.
    pub runtime_info: String,
    /// How many connections may be in use at once, besides the heartbeat's own and the one that pollers
    /// listen on. Default: 10.
    pub pool_size: usize,
    /// How long connecting, and waiting for a free connection, may take, and for how long
    /// [`Bmdb::drain`](crate::Bmdb::drain) tries to close its sessions. Several servers get equal shares,
    /// so that a server that does not answer leaves time for the others; a `connect_timeout` in the URL
    /// applies to each server. Each address of a server's name has that time to itself, as in libpq.
    /// Default: 10 s.
    pub connect_timeout: Duration,
    /// How long the server works on one statement before it gives up, and how long it lets an open
    /// transaction wait for its client: a closure that waits longer for something else loses its
    /// connection. Default: 60 s.
    ///
    /// If the server is silent for two seconds more, it is not working on the statement: the answer and
    /// the connection are taken for lost. An operation of a session is given up earlier if the session is
    /// lost earlier.
    ///
    /// This and `lock_timeout` are set when a connection is made; an `options=-c statement_timeout=…` of
    /// the URL overrides them. Migrations may take any time.
    pub statement_timeout: Duration,
    /// How long a statement waits for a lock before it fails with
    /// [`ErrorKind::LockTimeout`](bmdb_model::ErrorKind::LockTimeout); at most half of `statement_timeout`,
    /// so that waiting can be distinguished from working. Default: 30 s.
    pub lock_timeout: Duration,
    /// For how long a transaction that lost against a concurrent one is retried. Default: 10 s.
    pub retry_for: Duration,
    /// How much of the history is kept. Default: [`HistoryDetail::Folded`].
    pub history: HistoryDetail,
    /// The longest time between two turns of the janitor, which looks for expired sessions and due
    /// maintenance. Default: 1 s. `None` leaves both to other components.
    pub janitor_interval: Option<Duration>,
    /// How long the janitors take to replan the whole fleet, which repairs plans that raw SQL has bypassed.
    /// Default: 1 h. `None` disables replanning by this component's janitor.
    ///
    /// The janitors replan in batches of 500 machines, with a pause of at least a second between two
    /// batches; whichever janitor comes first does the next batch. So the cost for the database does not
    /// depend on the number of components, and a very large fleet takes longer than this period.
    pub replan_period: Option<Duration>,
    /// Which history the janitors keep; they delete older rows and rows beyond the limit. Default: 90 days,
    /// and 1000 rows of each machine. `None` disables trimming by this component's janitor.
    ///
    /// A pass over the history takes a day, in batches as above. Each janitor applies its own setting, so
    /// give all components of a database the same one: otherwise the one that keeps least prevails.
    pub retention: Option<Retention>,
    /// How often this component adds its counts of starts and ends to the database's attempt counts
    /// ([`bmdb_model::attempt_counts`]), which consoles draw: one small statement, and none if nothing
    /// happened. Default: 10 s. `None` disables counting, and summing up by this component's janitor.
    ///
    /// [`Bmdb::drain`](crate::Bmdb::drain), and [`Session::close`](crate::Session::close) of the last
    /// session, write the remaining counts. Counts not yet written are lost if the process crashes.
    pub attempt_counts_interval: Option<Duration>,
    /// Whether transactions that make machines due notify waiting pollers ([`Poller`](crate::Poller)),
    /// once for each process. Default: yes; on engines without `LISTEN` and `NOTIFY` always no.
    ///
    /// A transaction that notifies takes a lock at its commit that all databases of the server share, and
    /// keeps it until the commit is on disk: such commits run one after another. Disable this if a server
    /// must take thousands of them a second; pollers then find due machines by polling.
    pub notify: bool,
    /// The variables that fill in what the URL leaves out.
    pub(crate) environment: Option<Environment>,
}

impl Config {
    /// A configuration with defaults for the database at `url`. It reads no environment variable, and no
    /// file that the URL does not name.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            component: "bmdb".to_owned(),
            runtime_info: String::new(),
            pool_size: 10,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
            lock_timeout: Duration::from_secs(30),
            retry_for: Duration::from_secs(10),
            history: HistoryDetail::default(),
            janitor_interval: Some(Duration::from_secs(1)),
            replan_period: Some(Duration::from_secs(3600)),
            retention: Some(Retention::default()),
            attempt_counts_interval: Some(Duration::from_secs(10)),
            notify: true,
            environment: None,
        }
    }

    /// A configuration for the database that the environment names (`PGHOST`, `PGDATABASE`, …).
    #[must_use]
    pub fn from_env() -> Self {
        Self::new("").fill_from_env()
    }

    /// The same, with what the URL leaves out taken from libpq's variables, which are read now (`PGHOST`,
    /// `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGDATABASE`, `PGSSLMODE`, `PGSSLROOTCERT`, …), and from its files
    /// in the home folder (`~/.pgpass`, `~/.pg_service.conf`, and `root.crt`, `postgresql.crt` and
    /// `postgresql.key` in `~/.postgresql`).
    #[must_use]
    pub fn fill_from_env(self) -> Self {
        Self {
            environment: Some(Environment::read()),
            ..self
        }
    }

    /// Checks everything that [`Bmdb::connect`](crate::Bmdb::connect) checks before it sends anything,
    /// including the files of certificates and keys.
    ///
    /// # Errors
    /// [`ConnectError::InvalidUrl`], [`ConnectError::InvalidConfig`], [`ConnectError::UnusableFile`].
    pub fn check(&self) -> Result<(), ConnectError> {
        self.target()?.check()
    }

    /// A connection for the caller, like the one of migrations: encrypted as the URL says, and without
    /// limits on statements and locks.
    ///
    /// # Errors
    /// Every variant of [`ConnectError`] except [`ConnectError::Migration`].
    pub async fn connect(&self) -> Result<AsyncPgConnection, ConnectError> {
        Ok(self.target()?.for_migration().connect().await?.0)
    }

    /// The servers to connect to, if every setting can work.
    pub(crate) fn target(&self) -> Result<Target, ConnectError> {
        self.refuse_unusable_settings()?;
        Target::new(&ConnectSettings {
            url: &self.url,
            environment: self.environment.as_ref(),
            component: &self.component,
            connect_timeout: self.connect_timeout,
            statement_timeout: self.statement_timeout,
            lock_timeout: self.lock_timeout,
            notify: self.notify,
        })
    }

    fn refuse_unusable_settings(&self) -> Result<(), ConnectError> {
        let milliseconds = |field, value: Duration, longest: u128| {
            if (1..=longest).contains(&value.as_millis()) {
                return Ok(());
            }
            let problem = format!("{value:?} is not between 1 ms and {longest} ms");
            Err(ConnectError::InvalidConfig { field, problem })
        };
        // The server counts in 32 bits.
        let longest_statement = i32::MAX.unsigned_abs().into();
        let one_day = 86_400_000;
        milliseconds(
            "statement_timeout",
            self.statement_timeout,
            longest_statement,
        )?;
        milliseconds("lock_timeout", self.lock_timeout, longest_statement)?;
        milliseconds("connect_timeout", self.connect_timeout, one_day)?;
        if let Some(interval) = self.janitor_interval {
            milliseconds("janitor_interval", interval, one_day)?;
        }
        if let Some(period) = self.replan_period {
            milliseconds("replan_period", period, 365 * one_day)?;
        }
        // Noticed before anything is connected, and not by the session that would have them.
        let text = |column: Column, field, text: &str| {
            let problem = |error: bmdb_model::Error| ConnectError::InvalidConfig {
                field,
                problem: error.to_string(),
            };
            column.check(text).map_err(problem)
        };
        text(Column::COMPONENT, "component", &self.component)?;
        text(Column::RUNTIME_INFO, "runtime_info", &self.runtime_info)?;
        if self.pool_size == 0 {
            return Err(ConnectError::InvalidConfig {
                field: "pool_size",
                problem: "pool size must be at least 1".to_owned(),
            });
        }
        Ok(())
    }

    /// The same with another component name.
    #[must_use]
    pub fn component(self, name: impl Into<String>) -> Self {
        Self {
            component: name.into(),
            ..self
        }
    }

    /// The same with another runtime info.
    #[must_use]
    pub fn runtime_info(self, info: impl Into<String>) -> Self {
        Self {
            runtime_info: info.into(),
            ..self
        }
    }

    /// The same with another pool size; at least 1.
    #[must_use]
    pub fn pool_size(self, connections: usize) -> Self {
        Self {
            pool_size: connections,
            ..self
        }
    }

    /// The same with another detail of history.
    #[must_use]
    pub fn history(self, history: HistoryDetail) -> Self {
        Self { history, ..self }
    }

    /// The same with notifications or without: see [`Config::notify`].
    #[must_use]
    pub fn notify(self, notify: bool) -> Self {
        Self { notify, ..self }
    }

    /// The same with another janitor interval.
    #[must_use]
    pub fn janitor_interval(self, interval: Option<Duration>) -> Self {
        Self {
            janitor_interval: interval,
            ..self
        }
    }

    /// The same with another replanning period, or `None`: see [`Config::replan_period`].
    #[must_use]
    pub fn replan_period(self, period: Option<Duration>) -> Self {
        Self {
            replan_period: period,
            ..self
        }
    }

    /// The same with another retention of history, or `None`: see [`Config::retention`].
    #[must_use]
    pub fn retention(self, retention: Option<Retention>) -> Self {
        Self { retention, ..self }
    }

    /// The same with another interval of the attempt counts, or `None`: see
    /// [`Config::attempt_counts_interval`].
    #[must_use]
    pub fn attempt_counts_interval(self, interval: Option<Duration>) -> Self {
        Self {
            attempt_counts_interval: interval,
            ..self
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may contain a password.
        f.debug_struct("Config")
            .field("component", &self.component)
            .field("runtime_info", &self.runtime_info)
            .field("pool_size", &self.pool_size)
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}
