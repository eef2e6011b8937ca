//! How a component connects and behaves.

use bmdb_model::history::Retention;
use std::time::Duration;

/// Whether history keeps every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum History {
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
    /// The database, as a URL (`postgres://user@host/database`) or as `key=value` pairs.
    pub url: String,
    /// The name of the component, a label of its sessions. Default: `bmdb`.
    pub component: String,
    /// Where and how it runs, a label of its sessions. Default: empty.
    pub runtime_info: String,
    /// The most connections in use at once, besides the heartbeat's own and the one that pollers listen
    /// on. Default: 10.
    pub pool_size: usize,
    /// How long connecting, and waiting for a free connection, may take, and for how long
    /// [`Bmdb::drain`](crate::Bmdb::drain) tries to close its sessions. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long the server works on one statement before it gives up, and how long it lets an open
    /// transaction wait for its client: a closure that waits for something else for longer loses
    /// its connection. Default: 60 s.
    ///
    /// A server that is silent for two seconds more is not working on the statement: its answer is taken
    /// for lost, and so is the connection. Operations of a session are given up earlier where the session
    /// is lost earlier.
    pub statement_timeout: Duration,
    /// For how long a transaction that lost against a concurrent one is run again. Default: 10 s.
    pub retry_for: Duration,
    /// Whether history keeps every attempt. Default: [`History::Folded`].
    pub history: History,
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
    /// Whether transactions that make machines due notify waiting pollers ([`Poller`](crate::Poller)),
    /// once for each process. Default: yes; on engines without `LISTEN` and `NOTIFY` never.
    ///
    /// A transaction that notifies takes a lock at its commit which all databases of the server share,
    /// and keeps it until the commit is on disk: such commits go one after the other. Where a server
    /// is to take thousands of them a second, leave it out; pollers then find what is due by polling.
    pub notify: bool,
}

impl Config {
    /// A configuration with defaults for the database at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            component: "bmdb".to_owned(),
            runtime_info: String::new(),
            pool_size: 10,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
            retry_for: Duration::from_secs(10),
            history: History::default(),
            janitor_interval: Some(Duration::from_secs(1)),
            replan_period: Some(Duration::from_secs(3600)),
            retention: Some(Retention::default()),
            notify: true,
        }
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
    pub fn history(self, history: History) -> Self {
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
