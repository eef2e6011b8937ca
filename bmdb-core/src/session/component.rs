//! What all handles of a connected component share: the database, and the tasks that serve its sessions.

use crate::db::config::Config;
use crate::db::connect::Target;
use crate::db::database::Database;
use crate::db::home_runtime::HomeRuntime;
use crate::db::in_flight::InFlight;
use crate::db::listener::Listener;
use crate::db::retry::Retry;
use crate::error::{ConnectError, TxError};
use crate::lock::lock;
use crate::session::cleanup::{self, Cleanup};
use crate::session::heartbeat::{self, Registry};
use crate::session::heartbeat_thread::{self, HeartbeatThread};
use crate::session::listening_observer::ListeningObserver;
use crate::telemetry::attempt_counts::{self, AttemptCounts};
use crate::telemetry::{self, Meters};
use bmdb_model::migration::{self, MigrationError};
use bmdb_model::{Process, ProcessDef, process};
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

/// How long the end of the last session waits until the attempt counts are written.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

pub(crate) struct Component {
    pub(crate) config: Config,
    pub(crate) target: Target,
    pub(crate) database: Database,
    pub(crate) registry: Arc<Registry>,
    pub(crate) cleanup: Cleanup,
    /// Attempts, and operations of sessions.
    pub(crate) in_flight: InFlight,
    pub(crate) listener: Listener,
    pub(crate) attempt_counts: Arc<AttemptCounts>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) listening: Arc<ListeningObserver>,
    schema_checked: AtomicBool,
    draining: watch::Sender<bool>,
    /// Only processes with a workflow, so that it cannot grow with every name that is asked for.
    replan_on_claim: Mutex<HashMap<Process, bool>>,
    /// Processes for which a claim found limits, breakers or pauses. A claim that finds none any more
    /// removes its process.
    controlled: Mutex<HashSet<Process>>,
    tasks: Vec<AbortHandle>,
    _heartbeat: HeartbeatThread,
}

impl Drop for Component {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Component {
    /// Connects once, to check the server and the database, and starts the tasks that sessions need.
    pub(crate) async fn start(config: Config) -> Result<Self, ConnectError> {
        let home = HomeRuntime::current()?;
        let target = config.target()?;
        let beat_target = target.for_heartbeat(heartbeat::LONGEST_LIMIT);
        let meters = Arc::new(Meters::new(&config.component));
        let registry = Arc::new(Registry::new(meters.session_lost.clone()));
        let heartbeat = heartbeat_thread::start(beat_target, registry.clone(), home.clone());
        let (heartbeat, info) = heartbeat.await?;
        let notify = target.notify(&info);
        let database = |target: &Target, size| {
            let (home, target) = (home.clone(), target.clone());
            Database::new(home, target, size, config.retry_for, notify)
        };
        // A separate connection: canceling dropped work must not wait for other operations.
        let cleanup_database = database(&target.for_cleanup(cleanup::LOCK_LIMIT), 1);
        let database = database(&target, config.pool_size);
        let attempt_counts = Arc::new(AttemptCounts::new(config.attempt_counts_interval.is_some()));
        let can_listen = info.engine.has_listen_notify();
        let mut component = Self {
            cleanup: Cleanup::new(
                cleanup_database,
                registry.clone(),
                attempt_counts.clone(),
                config.history,
            ),
            listener: Listener::new(home.handle().clone(), can_listen.then(|| target.clone())),
            config,
            target,
            database,
            registry,
            in_flight: InFlight::new(),
            attempt_counts,
            meters,
            listening: Arc::default(),
            schema_checked: AtomicBool::new(false),
            draining: watch::Sender::new(false),
            replan_on_claim: Mutex::default(),
            controlled: Mutex::default(),
            tasks: Vec::new(),
            _heartbeat: heartbeat,
        };
        let registry = component.registry.clone();
        let heartbeat_age = move || registry.oldest_confirmation();
        let (meters, database) = (component.meters.clone(), component.database.clone());
        component.spawn(telemetry::keep_gauges(
            meters,
            database.clone(),
            heartbeat_age,
        ));
        if let Some(interval) = component.config.attempt_counts_interval {
            let attempt_counts = component.attempt_counts.clone();
            component.spawn(attempt_counts::run(database, attempt_counts, interval));
        }
        Ok(component)
    }

    /// Runs a task until the component is dropped.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task).abort_handle());
    }

    /// Refuses a database whose schema this release cannot use. A migrated schema stays migrated, but
    /// may become too new for this component at any time.
    pub(crate) async fn check_schema(
        &self,
        conn: &mut AsyncPgConnection,
    ) -> Result<(), MigrationError> {
        if self.schema_checked.load(Ordering::Relaxed) {
            return migration::check_not_too_old(conn).await;
        }
        migration::check(conn).await?;
        self.schema_checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the remaining attempt counts, because there may be no later opportunity.
    pub(crate) async fn flush_attempt_counts_by(&self, until: Instant) {
        // Boxed: otherwise the types of futures that contain it are too deep for downstream crates.
        let flush = self.attempt_counts.flush(&self.database).boxed();
        match timeout_at(until, flush).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the last attempt counts are lost"),
            Err(_) => tracing::debug!("no time was left to write the last attempt counts"),
        }
    }

    /// Writes the remaining attempt counts if no session is left: a short program may end now.
    pub(crate) async fn flush_if_last_session(&self) {
        if self.registry.all().is_empty() {
            self.flush_attempt_counts_by(Instant::now() + FLUSH_LIMIT)
                .await;
        }
    }

    pub(crate) fn start_draining(&self) {
        self.draining.send_replace(true);
    }

    /// Resolves when draining begins.
    pub(crate) async fn draining(&self) {
        let mut draining = self.draining.subscribe();
        // Fails only without a sender, and `self` owns it.
        drop(draining.wait_for(|draining| *draining).await);
    }

    pub(crate) fn refuse_if_draining(&self) -> Result<(), TxError> {
        if *self.draining.borrow() {
            Err(TxError::Draining)
        } else {
            Ok(())
        }
    }

    /// Makes the next use of a process look its definition up again.
    pub(crate) fn forget_process(&self, process: &Process) {
        lock(&self.replan_on_claim).remove(process);
    }

    /// Whether limits, breakers or pauses may stop a process, as far as its last claim knows. Only how
    /// to claim depends on it, and not what may be claimed.
    pub(crate) fn is_controlled(&self, process: &Process) -> bool {
        lock(&self.controlled).contains(process)
    }

    pub(crate) fn note_controlled(&self, process: &Process) {
        lock(&self.controlled).insert(process.clone());
    }

    pub(crate) fn note_uncontrolled(&self, process: &Process) {
        lock(&self.controlled).remove(process);
    }

    /// Whether a process is time-driven. Each process with a workflow is looked up once.
    pub(crate) async fn is_time_driven(
        &self,
        process: &Process,
        retry: &Retry,
    ) -> Result<bool, TxError> {
        let known = lock(&self.replan_on_claim).get(process).copied();
        if let Some(replan_on_claim) = known {
            return Ok(replan_on_claim);
        }
        let definition = self.definition(process, retry).await?;
        if definition.workflow.is_some() {
            lock(&self.replan_on_claim).insert(process.clone(), definition.replan_on_claim);
        }
        Ok(definition.replan_on_claim)
    }

    /// The definition of a process that is in force.
    pub(crate) async fn definition(
        &self,
        process: &Process,
        retry: &Retry,
    ) -> Result<ProcessDef, TxError> {
        let definition = self
            .database
            .run_for(retry, async |conn| Ok(process::of(conn, process).await?));
        definition
            .await
            .map_err(|error| retry.deadline().explain(error))
    }
}
