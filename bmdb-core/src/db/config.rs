//! How a component connects and behaves.

use crate::db::connect::Target;
use crate::db::url::Environment;
use crate::error::ConnectError;
use bmdb_model::history::Retention;
use diesel_async::AsyncPgConnection;
use std::time::Duration;

/// Whether history keeps every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HistoryDetail {
    /// A failure with the same cause and interval as the one before it is folded into that one's
    /// row, so a machine that fails the same way for weeks costs a handful of rows.
    #[default]
    Folded,
    /// Every attempt gets a row, as audits need it.
    Full,
}

/// How a component connects and behaves. Every field has a default but the URL.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// The database, as a URL (`postgres://user@host/database`) or as `key=value` pairs, with the
    /// parameters of libpq: see [`DatabaseUrl`](crate::DatabaseUrl).
    ///
    /// # Encryption
    /// `sslmode`, `sslrootcert` (a file, or `system`), `sslcert`, `sslkey`, `sslcrl` and their like mean
    /// what they mean to libpq, with one difference on purpose: where `sslmode` is left out it is
    /// `require`, not `prefer`, for servers on other machines. A server without TLS then takes
    /// `sslmode=disable`. `require` does not find out who the server is, unless `sslrootcert` says
    /// whom to trust; over networks that are not yours, use `sslmode=verify-full`.
    ///
    /// # Several servers
    /// `host=a,b` or `postgres://a,b/…` are tried in their order, with `target_session_attrs=read-write`
    /// until one accepts writes, as after a fail-over.
    pub url: String,
    /// The name of the component, a label of its sessions. Default: `bmdb`.
    pub component: String,
    /// Where and how it runs, a label of its sessions. Default: empty.
    pub runtime_info: String,
    /// The most connections in use at once, besides the heartbeat's own and the one that pollers listen
    /// on. Default: 10.
    pub pool_size: usize,
    /// How long connecting, and waiting for a free connection, may take, and for how long
    /// [`Bmdb::drain`](crate::Bmdb::drain) tries to close its sessions. Of several servers each gets an
    /// equal share, so that one that does not answer leaves time for the others; a `connect_timeout`
    /// in the URL is each one's. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long the server works on one statement before it gives up, and how long it lets an open
    /// transaction wait for its client: a closure that waits for something else for longer loses
    /// its connection. Default: 60 s.
    ///
    /// A server that is silent for two seconds more is not working on the statement: its answer is taken
    /// for lost, and so is the connection. Operations of a session are given up earlier where the session
    /// is lost earlier.
    ///
    /// This and `lock_timeout` are set when a connection is made; an `options=-c statement_timeout=…`
    /// of the URL comes after them. Migrations may take any time.
    pub statement_timeout: Duration,
    /// How long a statement waits for a lock that somebody else holds before it fails with
    /// [`Failure::LockTimeout`](bmdb_model::ErrorKind::LockTimeout); at most half of `statement_timeout`,
    /// so that waiting can be told from working. Default: 30 s.
    pub lock_timeout: Duration,
    /// For how long a transaction that lost against a concurrent one is run again. Default: 10 s.
    pub retry_for: Duration,
    /// Whether history keeps every attempt. Default: [`HistoryDetail::Folded`].
    pub history: HistoryDetail,
    /// The longest time between two looks for expired sessions, whose work is freed, and for upkeep that
    /// is due. Default: 1 s. `None` leaves all of that to other components.
    pub janitor_interval: Option<Duration>,
    /// How long the janitors take over planning the whole fleet anew, which repairs what was written
    /// past the planner. Default: 1 h. `None`: the one of this component takes no part in it.
    ///
    /// They do it in chunks of 500 machines, whichever of them comes first, with a pause in between of
    /// at least a second; so it costs the database the same with one component as with a hundred. A
    /// fleet that is too large for that takes longer.
    pub replan_period: Option<Duration>,
    /// Which history the janitors keep; what is older, or more, they delete. Default: 90 days, and 1000
    /// rows of each machine. `None`: the one of this component deletes none.
    ///
    /// A pass over the history takes a day, in chunks as above. Each janitor goes by its own setting,
    /// so give all components of a database the same: it goes by the one that keeps least.
    pub retention: Option<Retention>,
    /// How often this component adds to the database's tally of attempts
    /// ([`bmdb_model::attempt_counts`]) what it has counted of starts and ends, which consoles draw: one small
    /// statement, and none when nothing happened. Default: 10 s. `None`: what it does is not counted,
    /// and its janitor takes no part in adding up.
    ///
    /// [`Bmdb::drain`](crate::Bmdb::drain) and [`Session::close`](crate::Session::close) of the last
    /// session tell what is left. A component that dies takes what it has not told along.
    pub tally_interval: Option<Duration>,
    /// Whether transactions that make machines due notify waiting pollers ([`Poller`](crate::Poller)),
    /// once for each process. Default: yes; on engines without `LISTEN` and `NOTIFY` never.
    ///
    /// A transaction that notifies takes a lock at its commit which all databases of the server share,
    /// and keeps it until the commit is on disk: such commits go one after the other. Where a server
    /// is to take thousands of them a second, leave it out; pollers then find what is due by polling.
    pub notify: bool,
    /// Where the rest of the URL is taken from, if from anywhere.
    pub(crate) environment: Option<Environment>,
}

impl Config {
    /// A configuration with defaults for the database at `url`. Nothing else is looked at: no variable
    /// of the environment, no file that the URL does not name.
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
            tally_interval: Some(Duration::from_secs(10)),
            notify: true,
            environment: None,
        }
    }

    /// A configuration for the database that the environment names (`PGHOST`, `PGDATABASE`, …).
    #[must_use]
    pub fn from_env() -> Self {
        Self::new("").fill_from_env()
    }

    /// The same, with what the URL leaves out as libpq has it: from its variables, which are read now
    /// (`PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGDATABASE`, `PGSSLMODE`, `PGSSLROOTCERT`, …), and
    /// from its files in the home folder (`~/.pgpass`, `~/.postgresql/root.crt`, `postgresql.crt` and
    /// `postgresql.key` there).
    #[must_use]
    pub fn fill_from_env(self) -> Self {
        Self {
            environment: Some(Environment::read()),
            ..self
        }
    }

    /// Finds what [`Bmdb::connect`](crate::Bmdb::connect) would refuse before it sends anything,
    /// files of certificates and keys included.
    ///
    /// # Errors
    /// [`ConnectError::InvalidUrl`], [`ConnectError::InvalidConfig`], [`ConnectError::UnusableFile`].
    pub fn check(&self) -> Result<(), ConnectError> {
        Target::new(self)?.check()
    }

    /// A connection of one's own to the database, as migrations get one: encrypted as the URL says, and
    /// without limits on statements and locks.
    ///
    /// # Errors
    /// [`ConnectError`], but for [`ConnectError::Migration`].
    pub async fn connect(&self) -> Result<AsyncPgConnection, ConnectError> {
        Ok(Target::new(self)?.for_migration().connect().await?.0)
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

    /// The same with another way of keeping history.
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

    /// The same with another period of re-planning, or without: see [`Config::replan_period`].
    #[must_use]
    pub fn replan_period(self, period: Option<Duration>) -> Self {
        Self {
            replan_period: period,
            ..self
        }
    }

    /// The same with another retention of history, or with all of it kept: see [`Config::retention`].
    #[must_use]
    pub fn retention(self, retention: Option<Retention>) -> Self {
        Self { retention, ..self }
    }

    /// The same with another interval of the tally, or without one: see [`Config::tally_interval`].
    #[must_use]
    pub fn tally_interval(self, interval: Option<Duration>) -> Self {
        Self {
            tally_interval: interval,
            ..self
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Config")
            .field("component", &self.component)
            .field("runtime_info", &self.runtime_info)
            .field("pool_size", &self.pool_size)
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}
