//! The handle of a connected component.

use crate::chores::Chores;
use crate::config::Config;
use crate::connect::Target;
use crate::error::{ConnectError, SessionError, TxError};
use crate::heartbeat::{self, Registry};
use crate::janitor;
use crate::lease::Lease;
use crate::pool::Pool;
use crate::session::{self, Session, SessionOptions};
use bmdb_model::history::HistoryEvent;
use bmdb_model::migration::{self, MigrationError};
use bmdb_model::{MachineId, Process, history, process};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// A connected component. Clones share one connection pool, one heartbeat and one janitor, which end
/// with the last clone, session and work.
#[derive(Clone)]
pub struct Bmdb {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) pool: Pool,
    pub(crate) registry: Arc<Registry>,
    pub(crate) chores: Chores,
    /// How many works are in progress.
    pub(crate) works: watch::Sender<usize>,
    target: Target,
    schema_checked: AtomicBool,
    draining: AtomicBool,
    time_driven: Mutex<HashMap<Process, bool>>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Bmdb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bmdb")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl Bmdb {
    /// Connects, and starts what runs in the background: the heartbeat of this program's sessions,
    /// the janitor, and the giving back of work that nobody ended. Needs a tokio runtime.
    ///
    /// An empty database is accepted, for [`Bmdb::migrate`]. Session pooling is required: bmdb does
    /// not work through pgbouncer's transaction mode.
    ///
    /// # Errors
    /// Every variant of [`ConnectError`].
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        let target = Target::new(&config)?;
        let (mut conn, _) = target.connect().await?;
        migration::check_not_too_old(&mut conn).await?;
        drop(conn);
        let pool = Pool::new(target.clone(), config.pool_size, config.connect_timeout);
        let registry = Arc::new(Registry::default());
        let beat_target = target.with_statement_timeout(Duration::from_secs(5));
        // A connection of their own: giving work back must not wait for the work of others.
        let chore_pool = Pool::new(target.clone(), 1, config.connect_timeout);
        let chores = Chores::start(chore_pool, registry.clone());
        let mut tasks =
            vec![tokio::spawn(heartbeat::keep_alive(beat_target, registry.clone())).abort_handle()];
        if let Some(interval) = config.janitor_interval {
            let task = janitor::run(pool.clone(), registry.clone(), interval);
            tasks.push(tokio::spawn(task).abort_handle());
        }
        let inner = Inner {
            pool,
            registry,
            chores,
            works: watch::Sender::new(0),
            target,
            schema_checked: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            time_driven: Mutex::default(),
            tasks,
            config,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Applies the pending migrations and returns their versions. Concurrent callers take turns.
    ///
    /// Cancellation: a migration that has begun completes or rolls back in the background.
    ///
    /// # Errors
    /// [`MigrationError`].
    pub async fn migrate(&self) -> Result<Vec<String>, MigrationError> {
        let (conn, _) = self
            .inner
            .target
            .connect()
            .await
            .map_err(|e| MigrationError::Failed(e.into()))?;
        migration::run_pending(conn).await
    }

    /// Starts a session: a lease that is kept alive in the background until the session is closed or
    /// dropped.
    ///
    /// # Errors
    /// [`SessionError::Migration`] when the database is not migrated or has moved past this
    /// component, [`SessionError::InvalidOptions`], or a database error.
    pub async fn start_session(&self, options: SessionOptions) -> Result<Session, SessionError> {
        let (interval_seconds, margin) = options.validated()?;
        self.inner.refuse_if_draining()?;
        let mut conn = self.inner.pool.lease().await?;
        if !self.inner.schema_checked.load(Ordering::Relaxed) {
            migration::check(&mut conn).await?;
            self.inner.schema_checked.store(true, Ordering::Relaxed);
        }
        let Config {
            component,
            runtime_info,
            ..
        } = &self.inner.config;
        let sent = Instant::now();
        let id = bmdb_model::session::start(&mut conn, component, runtime_info, interval_seconds)
            .await
            .map_err(TxError::from)?;
        conn.give_back();
        let lease = Arc::new(Lease::new(id, options.interval, margin, sent));
        self.inner.registry.add(lease.clone());
        Ok(Session::new(self.inner.clone(), lease))
    }

    /// A machine's history, oldest first.
    ///
    /// # Errors
    /// A database error.
    pub async fn history_of(&self, machine: MachineId) -> Result<Vec<HistoryEvent>, TxError> {
        let mut conn = self.inner.pool.lease().await?;
        let events = history::of(&mut conn, machine).await?;
        conn.give_back();
        Ok(events)
    }

    /// Frees the work of expired sessions now, instead of waiting for the janitor's next turn.
    ///
    /// # Errors
    /// A database error.
    pub async fn free_lost_work(&self) -> Result<janitor::Losses, TxError> {
        janitor::free_lost_work(&self.inner.pool).await
    }

    /// Takes on nothing new, waits up to `limit` for the works in progress to end, then closes all
    /// sessions, which cancels what is still held, and waits for what runs in the background.
    /// Whether every work ended by itself.
    ///
    /// # Errors
    /// A database error; sessions that could not be closed expire by themselves.
    pub async fn drain(&self, limit: Duration) -> Result<bool, TxError> {
        self.inner.draining.store(true, Ordering::Relaxed);
        let mut works = self.inner.works.subscribe();
        let all_ended = works.wait_for(|works| *works == 0);
        let ended = tokio::time::timeout(limit, all_ended).await.is_ok();
        for lease in self.inner.registry.all() {
            match session::close(&self.inner.pool, &lease, &self.inner.registry).await {
                Ok(()) | Err(TxError::SessionExpired) => {}
                Err(error) => return Err(error),
            }
        }
        self.inner.chores.idle().await;
        Ok(ended)
    }
}

impl Inner {
    pub(crate) fn refuse_if_draining(&self) -> Result<(), TxError> {
        if self.draining.load(Ordering::Relaxed) {
            Err(TxError::Draining)
        } else {
            Ok(())
        }
    }

    /// Refuses a time-driven process. What a defined process is does not change while
    /// components run, so each is looked up once.
    pub(crate) async fn refuse_if_time_driven(&self, process: &Process) -> Result<(), TxError> {
        let known = self.time_driven().get(process).copied();
        let time_driven = match known {
            Some(time_driven) => time_driven,
            None => {
                let mut conn = self.pool.lease().await?;
                let definition = process::of(&mut conn, process).await?;
                conn.give_back();
                if definition.workflow.is_some() {
                    self.time_driven()
                        .insert(process.clone(), definition.time_driven);
                }
                definition.time_driven
            }
        };
        if time_driven {
            Err(TxError::TimeDriven(process.clone()))
        } else {
            Ok(())
        }
    }

    fn time_driven(&self) -> std::sync::MutexGuard<'_, HashMap<Process, bool>> {
        self.time_driven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
