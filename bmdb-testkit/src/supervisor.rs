//! The keeper: one thread per process and server that holds the connections to the administrative
//! database. They tell other processes that this one lives, create its databases, drop them off
//! the tests' path, and sweep those of dead processes.
//!
//! A test process may end before its last drop has run (under nextest nearly every one does), and
//! can be killed at any time. So a database's name carries the run that made it, and the keeper's
//! connections carry it too, as their application name: a database whose run has no connection is
//! nobody's. Unlike a process id this holds across containers and hosts that share a server.

mod registry;
mod sweep;

use crate::TestkitError;
use crate::error::with_detail;
use crate::id;
use registry::{Known, Pool};
use std::ops::Deref;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use sweep::Manner;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_postgres::{Client, Config};

pub(crate) use registry::connect;

/// The start of every test database's name; then the run, and a number.
const PREFIX: &str = "bmdb_test_";

#[derive(Debug)]
pub(crate) struct Keeper {
    config: Option<Config>,
    /// Whether the user named the server, and so can correct the name.
    is_named: bool,
    run: String,
    databases: Arc<AtomicU64>,
    /// The first connection's, where one was opened already to see whether the server is there.
    stream: Mutex<Option<UnixStream>>,
    started: Mutex<Option<Started>>,
}

#[derive(Debug, Clone)]
struct Started {
    runtime: Handle,
    jobs: UnboundedSender<Job>,
    pool: Arc<Pool>,
}

#[derive(Debug)]
enum Job {
    Drop(String),
    Keep(String, std::sync::mpsc::Sender<()>),
    /// Look for what dead runs have left.
    Sweep,
}

impl Keeper {
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

    /// Of the same run on a standby, which has the run's databases as well: they are nobody's to
    /// sweep, and their names are taken.
    pub(crate) fn on_standby(&self, url: &str) -> Self {
        Self {
            run: self.run.clone(),
            databases: self.databases.clone(),
            ..Self::of(url, false)
        }
    }

    /// Makes this open connection to the server its first one, since a server that is connected to
    /// starts a process, used or not.
    pub(crate) fn with_stream(self, stream: UnixStream) -> Self {
        *lock(&self.stream) = Some(stream);
        self
    }

    /// Whether one of its connections is open, so that the server certainly lives.
    pub(crate) fn is_connected(&self) -> bool {
        let started = self.lock();
        started.as_ref().is_some_and(|s| s.pool.is_connected())
    }

    /// A name for a new database, which no other process's sweep touches as long as this one has
    /// had a connection.
    pub(crate) fn new_name(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{PREFIX}{}_{number}", self.run)
    }

    /// A connection to the administrative database, lent.
    pub(crate) async fn admin(&self) -> Result<Admin, TestkitError> {
        let Started { runtime, pool, .. } = self.started()?;
        if let Some(idle) = Admin::idle(&pool, &runtime) {
            return Ok(idle);
        }
        let (config, stream) = (self.config(), lock(&self.stream).take());
        // On the keeper's runtime: the caller's ends with its test.
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

    /// Drops, off the tests' path, what dead processes have left.
    pub(crate) fn sweep(&self) {
        self.send(Job::Sweep);
    }

    /// Drops a database of ours in the background.
    pub(crate) fn drop_database(&self, name: String) {
        self.send(Job::Drop(name));
    }

    /// Marks a database of ours so that nobody sweeps it. Waits, since the process is about to end.
    pub(crate) fn keep_database(&self, name: String) {
        let (done, kept) = std::sync::mpsc::channel();
        self.send(Job::Keep(name, done));
        // Whether it was marked or not, there is nothing more to do about it in a failing test.
        let _ = kept.recv_timeout(Duration::from_secs(2));
    }

    fn send(&self, job: Job) {
        if let Some(started) = &*self.lock() {
            // A keeper that has lost its server has nothing left to drop.
            let _ = started.jobs.send(job);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Started>> {
        lock(&self.started)
    }

    fn config(&self) -> Config {
        let mut config = self.config.clone().unwrap_or_default();
        config.application_name(format!("bmdb-testkit {}", self.run));
        config
    }

    fn started(&self) -> Result<Started, TestkitError> {
        let mut started = self.lock();
        if let Some(started) = &*started {
            return Ok(started.clone());
        }
        let failed = |error| TestkitError::boot("starting the keeper", error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let (jobs, inbox) = unbounded_channel();
        let pool = Arc::<Pool>::default();
        let config = self.config();
        let new = Started {
            runtime: runtime.handle().clone(),
            jobs,
            pool: pool.clone(),
        };
        let manner = if self.is_named {
            Manner::Prompt
        } else {
            Manner::Patient
        };
        thread::Builder::new()
            .name("bmdb-testkit".to_owned())
            .spawn(move || runtime.block_on(sweep::keep(&config, &pool, inbox, manner)))
            .map_err(failed)?;
        *started = Some(new.clone());
        Ok(new)
    }
}

/// A connection to the administrative database, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Admin {
    known: Arc<Known>,
    pool: Arc<Pool>,
    runtime: Handle,
    /// Whether somebody else gives it back.
    is_passed_on: AtomicBool,
}

impl Admin {
    fn idle(pool: &Arc<Pool>, runtime: &Handle) -> Option<Self> {
        pool.pop().map(|known| Self::lend(pool, known, runtime))
    }

    /// A new one, driven by the current runtime.
    async fn new(
        pool: &Arc<Pool>,
        config: &Config,
        stream: Option<UnixStream>,
    ) -> Result<Self, TestkitError> {
        let known = pool.connect(config, stream).await?;
        Ok(Self::lend(pool, known, &Handle::current()))
    }

    fn lend(pool: &Arc<Pool>, known: Arc<Known>, runtime: &Handle) -> Self {
        Self {
            known,
            pool: pool.clone(),
            runtime: runtime.clone(),
            is_passed_on: AtomicBool::new(false),
        }
    }

    /// Runs a last statement after those that are under way, where nobody is left to wait for it;
    /// only then the connection is given back.
    pub(crate) fn conclude_with(&self, sql: &'static str, parameter: i64) {
        if self.is_passed_on.swap(true, Ordering::Relaxed) {
            return;
        }
        let admin = Self::lend(&self.pool, self.known.clone(), &self.runtime);
        self.runtime.spawn(async move {
            // A connection that is gone has nothing to undo.
            let _ = admin.execute(sql, &[&parameter]).await;
        });
    }

    /// The server's major version.
    pub(crate) fn major(&self) -> u32 {
        self.known.major
    }

    /// Whether [`Admin::remember`] was told of this template.
    pub(crate) fn knows(&self, template: &str) -> bool {
        self.known.knows(template)
    }

    /// Remembers that this template is complete.
    pub(crate) fn remember(&self, template: &str) {
        self.known.remember(template);
    }
}

impl Deref for Admin {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.known.client
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        if !self.is_passed_on.load(Ordering::Relaxed) {
            self.pool.push(self.known.clone());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
