//! Database manager: one thread per process and server that holds the connections to the
//! administrative database. It creates the process's databases, drops them outside of the tests' path,
//! and drops those of dead processes.
//!
//! A test process may end before its last drop has run (under nextest nearly all do), and may be
//! killed at any time. So a database's name contains the id of the run that made it, and the manager's
//! connections have the same id in their application name: a database whose run has no connection is
//! stale. Unlike a process id this works across containers and hosts that share a server.

mod admin;
mod background;
mod pool;

pub(crate) use admin::Admin;

use crate::TestkitError;
use crate::blocking;
use crate::error::with_detail;
use crate::id;
use crate::lock::lock;
use background::{DropTiming, Job};
use pool::Pool;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_postgres::Config;

/// The start of every test database's name; the run's id and a number follow.
const PREFIX: &str = "bmdb_test_";

#[derive(Debug)]
pub(crate) struct DatabaseManager {
    config: Option<Config>,
    /// Whether the user named the server, and so can correct its URL.
    is_named: bool,
    run: String,
    databases: Arc<AtomicU64>,
    /// A stream for the first connection, if one was opened to see whether the server runs.
    stream: Mutex<Option<UnixStream>>,
    started: Mutex<Option<Started>>,
}

#[derive(Debug, Clone)]
struct Started {
    runtime: Handle,
    jobs: UnboundedSender<Job>,
    pool: Arc<Pool>,
}

impl DatabaseManager {
    pub(crate) fn of(url: &str, is_named: bool) -> Self {
        Self {
            config: url.parse().ok(),
            is_named,
            run: id::random(),
            databases: Arc::default(),
            stream: Mutex::default(),
            started: Mutex::default(),
        }
    }

    /// The manager of the same run on a standby. The standby has the run's databases as well, so they
    /// are not stale there, and their names are taken.
    pub(crate) fn on_standby(&self, url: &str) -> Self {
        Self {
            run: self.run.clone(),
            databases: self.databases.clone(),
            ..Self::of(url, false)
        }
    }

    /// Uses this open stream for the first connection: the server starts a process for every stream,
    /// used or not.
    pub(crate) fn with_stream(self, stream: UnixStream) -> Self {
        *lock(&self.stream) = Some(stream);
        self
    }

    /// Whether one of its connections is open, which shows that the server runs.
    pub(crate) fn is_connected(&self) -> bool {
        let started = lock(&self.started);
        started.as_ref().is_some_and(|s| s.pool.is_connected())
    }

    /// A name for a new database. While this process has a connection, other processes do not drop it.
    pub(crate) fn new_name(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{PREFIX}{}_{number}", self.run)
    }

    /// A connection to the administrative database from the pool.
    pub(crate) async fn admin(&self) -> Result<Admin, TestkitError> {
        let Started { runtime, pool, .. } = self.started()?;
        if let Some(idle) = Admin::idle(&pool, &runtime) {
            return Ok(idle);
        }
        let (config, stream) = (self.config(), lock(&self.stream).take());
        // On the manager's runtime, because the caller's ends with its test.
        let connecting = runtime.spawn(async move { Admin::new(&pool, &config, stream).await });
        let connected = connecting
            .await
            .map_err(|error| TestkitError::boot("connecting to the server", error))?;
        connected.map_err(|error| match error {
            TestkitError::Database(error) if self.is_named => TestkitError::WrongUrl {
                reason: with_detail(&error),
            },
            error => error,
        })
    }

    /// Drops the databases of dead processes in the background.
    pub(crate) fn drop_stale(&self) {
        self.send(Job::DropStale);
    }

    /// Drops a database of this process in the background.
    pub(crate) fn drop_database(&self, name: String) {
        self.send(Job::Drop(name));
    }

    /// Marks a database of this process so that no process drops it. Waits for that, because the
    /// process is about to end.
    pub(crate) fn keep_database(&self, name: String) {
        let (done, kept) = std::sync::mpsc::channel();
        self.send(Job::Keep(name, done));
        // If it could not be marked, a failing test can do nothing about it.
        let _ = kept.recv_timeout(Duration::from_secs(2));
    }

    fn send(&self, job: Job) {
        if let Some(started) = &*lock(&self.started) {
            // The thread ends only with the process.
            let _ = started.jobs.send(job);
        }
    }

    fn config(&self) -> Config {
        let mut config = self.config.clone().unwrap_or_default();
        config.application_name(format!("bmdb-testkit {}", self.run));
        config
    }

    fn started(&self) -> Result<Started, TestkitError> {
        const STARTING: &str = "starting the database manager";
        let mut started = lock(&self.started);
        if let Some(started) = &*started {
            return Ok(started.clone());
        }
        let runtime = blocking::runtime(STARTING)?;
        let (jobs, inbox) = unbounded_channel();
        let pool = Arc::<Pool>::default();
        let config = self.config();
        let new = Started {
            runtime: runtime.handle().clone(),
            jobs,
            pool: pool.clone(),
        };
        let timing = if self.is_named {
            DropTiming::AtOnce
        } else {
            DropTiming::WhenIdle
        };
        thread::Builder::new()
            .name("bmdb-testkit".to_owned())
            .spawn(move || runtime.block_on(background::run(&config, &pool, inbox, timing)))
            .map_err(|error| TestkitError::boot(STARTING, error))?;
        *started = Some(new.clone());
        Ok(new)
    }
}
