//! What all handles of a connected component share: the pool, and what runs in the background.

use crate::db::config::Config;
use crate::db::connect::Target;
use crate::db::pool::Pool;
use crate::db::retry::Retry;
use crate::error::{ConnectError, TxError};
use crate::maintenance::batch::Upkeep;
use crate::maintenance::janitor;
use crate::session::cleanup::{self, Chores};
use crate::session::heartbeat::{self, Registry};
use crate::telemetry::attempt_counts::{self, Tally};
use crate::telemetry::{self, Meters};
use crate::work::in_flight::Progress;
use crate::work::listener::Wakeups;
use bmdb_model::internal::connection::ConnectionInfo;
use bmdb_model::internal::notify::Notify;
use bmdb_model::migration::{self, MigrationError};
use bmdb_model::{Process, ProcessDef, process};
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

/// How long a session's end waits until the tally has been told.
const LAST_COUNTS: Duration = Duration::from_secs(1);

pub(crate) struct Component {
    pub(crate) config: Config,
    pub(crate) pool: Pool,
    pub(crate) registry: Arc<Registry>,
    pub(crate) chores: Chores,
    /// The works, and the operations of sessions.
    pub(crate) progress: Progress,
    pub(crate) wakeups: Wakeups,
    pub(crate) tally: Arc<Tally>,
    /// Whether what is planned is notified of.
    pub(crate) notify: Notify,
    pub(crate) upkeep: Upkeep,
    pub(crate) meters: Arc<Meters>,
    target: Target,
    schema_checked: AtomicBool,
    draining: watch::Sender<bool>,
    /// Only those with a workflow, however many names are asked for.
    time_driven: Mutex<HashMap<Process, bool>>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Component {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Component {
    /// Connects once, to find out whether the server and the database will do, and starts the tasks.
    pub(crate) async fn start(config: Config) -> Result<Self, ConnectError> {
        let target = Target::new(&config)?;
        let beat = target.for_heartbeat(heartbeat::LONGEST_LIMIT);
        let (mut conn, info) = beat.connect().await?;
        migration::check_not_too_old(&mut conn).await?;
        let pool = Pool::new(target.clone(), config.pool_size, &config);
        let meters = Arc::new(Meters::new(&config.component));
        let registry = Arc::new(Registry::new(meters.session_lost.clone()));
        // A connection of their own: giving work back must not wait for the work of others.
        let chore_target = target.for_chores(cleanup::LOCK_LIMIT);
        let chore_pool = Pool::new(chore_target, 1, &config);
        let tally = Arc::new(Tally::new(config.tally_interval.is_some()));
        let chores = Chores::new(chore_pool, registry.clone(), tally.clone());
        let beat = tokio::spawn(heartbeat::keep_alive(beat, conn, registry.clone()));
        let mut tasks = vec![beat.abort_handle()];
        let gauges = telemetry::keep(meters.clone(), pool.clone(), registry.clone());
        tasks.push(tokio::spawn(gauges).abort_handle());
        let notify = target.notify(&info);
        let upkeep = Upkeep::new(&config, notify);
        if let Some(interval) = config.janitor_interval {
            let shared = (pool.clone(), registry.clone(), tally.clone());
            let janitor = janitor::run(shared, upkeep.clone(), interval);
            tasks.push(tokio::spawn(janitor).abort_handle());
        }
        if let Some(interval) = config.tally_interval {
            let telling = attempt_counts::run(pool.clone(), tally.clone(), interval);
            tasks.push(tokio::spawn(telling).abort_handle());
        }
        let can_listen = info.engine.has_listen_notify();
        Ok(Self {
            wakeups: Wakeups::new(can_listen.then(|| target.clone())),
            tally,
            notify,
            upkeep,
            meters,
            config,
            pool,
            registry,
            chores,
            progress: Progress::new(),
            target,
            schema_checked: AtomicBool::new(false),
            draining: watch::Sender::new(false),
            time_driven: Mutex::default(),
            tasks,
        })
    }

    /// A connection outside the pool, whose statements may take any time.
    pub(crate) async fn connect_for_migration(
        &self,
    ) -> Result<(AsyncPgConnection, ConnectionInfo), ConnectError> {
        self.target.for_migration().connect().await
    }

    /// Refuses a database whose schema does not fit. Once it has been migrated it remains so, but it
    /// may move past this component at any time.
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

    /// Tells the tally's last counts, for nobody may come any more to tell them.
    pub(crate) async fn tell_by(&self, until: Instant) {
        // Boxed, or the types of futures that contain it are too deep for the compilers of others.
        let telling = self.tally.tell(&self.pool).boxed();
        let told = timeout_at(until, telling).await;
        match told {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the tally's last counts are lost"),
            Err(_) => tracing::debug!("no time was left for the tally's last counts"),
        }
    }

    /// The same when no session is left: a short program may end now.
    pub(crate) async fn tell_if_over(&self) {
        if self.registry.all().is_empty() {
            self.tell_by(Instant::now() + LAST_COUNTS).await;
        }
    }

    pub(crate) fn start_draining(&self) {
        self.draining.send_replace(true);
    }

    /// Resolves when draining begins.
    pub(crate) async fn draining(&self) {
        let mut draining = self.draining.subscribe();
        // Fails only without a sender, and that lives in `self`.
        drop(draining.wait_for(|draining| *draining).await);
    }

    pub(crate) fn refuse_if_draining(&self) -> Result<(), TxError> {
        if *self.draining.borrow() {
            Err(TxError::Draining)
        } else {
            Ok(())
        }
    }

    /// What is remembered of a process is looked up again.
    pub(crate) fn forget_process(&self, process: &Process) {
        self.time_driven().remove(process);
    }

    /// Whether a process is time-driven. Each process with a workflow is looked up once.
    pub(crate) async fn is_time_driven(
        &self,
        process: &Process,
        retry: &mut Retry,
    ) -> Result<bool, TxError> {
        let known = self.time_driven().get(process).copied();
        if let Some(time_driven) = known {
            return Ok(time_driven);
        }
        let definition = self.definition(process, retry).await?;
        if definition.workflow.is_some() {
            self.time_driven()
                .insert(process.clone(), definition.replan_on_claim);
        }
        Ok(definition.replan_on_claim)
    }

    /// The definition in force.
    pub(crate) async fn definition(
        &self,
        process: &Process,
        retry: &mut Retry,
    ) -> Result<ProcessDef, TxError> {
        let mut conn = retry.checkout(&self.pool).await?;
        let definition = retry.patience().answer(process::of(&mut conn, process));
        let definition = definition
            .await
            .map_err(|error| retry.patience().explain(error.into()))?;
        conn.give_back();
        Ok(definition)
    }

    fn time_driven(&self) -> MutexGuard<'_, HashMap<Process, bool>> {
        self.time_driven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
