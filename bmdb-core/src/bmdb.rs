//! `Bmdb`: the handle of a connected component, and everything that can be done without a session.
//!
//! This file stands above `maintenance` and may import every room below it; `operator` and `control_loop`
//! stand above this file.

use crate::db::config::Config;
use crate::db::lease_clock::LeaseInstant;
use crate::db::migrate::{self, MigrateOptions};
use crate::error::{ConnectError, SessionError, TxError};
use crate::maintenance::batch::Maintenance;
use crate::maintenance::define;
use crate::maintenance::dry_run::{self, DryRun};
use crate::maintenance::janitor::{self, JanitorReport};
use crate::maintenance::reclaim::{self, Reclaimed};
use crate::maintenance::replan::{self, LockedMachines};
use crate::maintenance::trim;
use crate::session::Session;
use crate::session::component::Component;
use crate::session::drain;
use crate::session::lease::Lease;
use crate::session::listening_observer;
use crate::session::options::SessionOptions;
use bmdb_model::history::{self, HistoryEvent, Retention};
use bmdb_model::migration::MigrationError;
use bmdb_model::{MachineId, ProcessDef};
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use std::sync::Arc;
use std::time::Duration;

/// A connected component. Clones share one connection pool, one heartbeat and one janitor, which end
/// with the last clone, session and work.
#[derive(Clone)]
pub struct Bmdb {
    pub(crate) component: Arc<Component>,
    maintenance: Arc<Maintenance>,
}

impl std::fmt::Debug for Bmdb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bmdb")
            .field("config", &self.component.config)
            .finish_non_exhaustive()
    }
}

impl Bmdb {
    /// Connects, and starts the background tasks: the janitor and the cleanup of dropped work in the caller's
    /// tokio runtime, and the heartbeat of this program's sessions on a thread of its own, so that a step that
    /// blocks its thread does not lose the lease.
    ///
    /// The handle belongs to that runtime. When the runtime ends, its sessions are lost, and everything refuses
    /// with [`TxError::RuntimeEnded`]: make a `Bmdb` in each runtime, such as in each `#[tokio::test]`. While it
    /// runs, the handle may be used in others. Outside of any runtime, calls fail with [`TxError::NoRuntime`];
    /// [`Bmdb::draining`], [`Session::lost`] and [`Work::lost`](crate::Work::lost), which return no error, may
    /// panic there. After a `fork`, the child must not use the handle: it has none of its threads.
    ///
    /// An empty database is accepted, for [`Bmdb::migrate`]. Session pooling is required: bmdb does not
    /// work through pgbouncer's transaction mode.
    ///
    /// Cancellation: nothing stays behind.
    ///
    /// # Errors
    /// Every variant of [`ConnectError`].
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        let mut component = Component::start(config).await?;
        let config = &component.config;
        let maintenance = Arc::new(Maintenance::new(config, component.database.clone()));
        if let Some(interval) = config.janitor_interval {
            let (registry, counts) = (&component.registry, &component.attempt_counts);
            let shared = (maintenance.clone(), registry.clone(), counts.clone());
            component.spawn(janitor::run(shared, interval));
            let (observer, database) = (component.listening.clone(), component.database.clone());
            component.spawn(observer.run(database));
        }
        Ok(Self {
            component: Arc::new(component),
            maintenance,
        })
    }

    /// Starts a session: a lease that is kept alive in the background until the session is closed or
    /// dropped.
    ///
    /// Cancellation: a dropped future may leave a session in the database that no heartbeat keeps alive. It
    /// holds nothing and expires after its interval, and the next janitor removes it.
    ///
    /// # Errors
    /// [`SessionError::Migration`] if the database is not migrated or has become too new for this
    /// component, even after it connected; [`SessionError::InvalidOptions`], or a database error.
    pub async fn start_session(&self, options: SessionOptions) -> Result<Session, SessionError> {
        let terms = options.terms()?;
        let component = &self.component;
        component.refuse_if_draining()?;
        let deadline = component.database.deadline();
        let mut conn = component.database.checkout(&deadline).await?;
        let checked = async { Ok::<_, TxError>(component.check_schema(&mut conn).await) };
        match deadline.answer(checked).await? {
            // An error of the connection says nothing about the schema.
            Err(MigrationError::Database(error)) => return Err(TxError::from(error).into()),
            checked => checked?,
        }
        let Config {
            component: name,
            runtime_info,
            ..
        } = &component.config;
        let sent = LeaseInstant::now();
        let seconds = terms.interval_seconds();
        let id = bmdb_model::internal::session::start(&mut conn, name, runtime_info, seconds);
        let id = deadline.answer(id).await.map_err(TxError::from);
        let lease = Arc::new(Lease::new(conn.settle(id)?, terms, sent));
        component.registry.add(lease.clone());
        component.meters.session_started.increment(1);
        let session = Session::new(component.clone(), lease);
        // A draining that has begun since has not seen the session, which is closed when it is dropped.
        component.refuse_if_draining()?;
        Ok(session)
    }

    /// A machine's history, oldest first.
    ///
    /// # Errors
    /// A database error.
    pub async fn history_of(&self, machine: MachineId) -> Result<Vec<HistoryEvent>, TxError> {
        let database = &self.component.database;
        let events = database.run(async |conn| Ok(history::of(conn, machine).await?));
        events.await
    }

    /// Frees the work of expired sessions now, instead of waiting for the janitor's next turn.
    ///
    /// # Errors
    /// A database error.
    pub async fn reclaim_expired(&self) -> Result<Reclaimed, TxError> {
        let component = &self.component;
        reclaim::reclaim(&component.database, &component.attempt_counts).await
    }

    /// Takes a turn of the janitor now, even if this component has none: frees the work of expired
    /// sessions, does the maintenance that is due and that [`Config`] gives to this component, and observes
    /// who listens to agents.
    /// [`Bmdb::janitor_dry_run`] shows beforehand what it would do.
    ///
    /// Cancellation: committed changes stay, and the next turn does the rest.
    ///
    /// # Errors
    /// A database error. Work that was freed before a batch failed stays free.
    pub async fn janitor_turn(&self) -> Result<JanitorReport, TxError> {
        listening_observer::observe_first(&self.component.database).await?;
        let turn = janitor::take_turn(&self.maintenance, &self.component.attempt_counts).await;
        // A program that takes one turn may end right after it.
        self.component.flush_if_last_session().await;
        turn
    }

    /// Reports what a turn of the janitor would do now. Writes and locks nothing; reads the whole history
    /// if this component trims it.
    ///
    /// # Errors
    /// A database error.
    pub async fn janitor_dry_run(&self) -> Result<DryRun, TxError> {
        dry_run::dry_run(&self.maintenance).await
    }

    /// Applies the pending migrations and returns their versions. Concurrent callers take turns. If any was
    /// applied, the fleet is replanned.
    ///
    /// Components of the previous release may continue to work at the same time. If another session holds a
    /// lock that a migration needs, the migration is rolled back after two seconds and retried for five
    /// minutes; [`Bmdb::migrate_with`] takes other limits. A trace event names the sessions that block it.
    /// If none is pending, any component may call it; otherwise a member of `bmdb_owner`
    /// ([`bmdb_model::grants`]).
    ///
    /// Cancellation: a migration that has begun completes or rolls back in the background. If the program
    /// ends between a migration and the planning, call [`Bmdb::replan`].
    ///
    /// # Errors
    /// [`MigrationError`]; [`MigrationError::Busy`] and [`MigrationError::Locked`] name the sessions in the
    /// way.
    pub async fn migrate(&self) -> Result<Vec<String>, MigrationError> {
        self.migrate_with(MigrateOptions::default()).await
    }

    /// Like [`Bmdb::migrate`], with other limits to waiting.
    ///
    /// # Errors
    /// As [`Bmdb::migrate`].
    pub async fn migrate_with(
        &self,
        options: MigrateOptions,
    ) -> Result<Vec<String>, MigrationError> {
        let Component {
            target, database, ..
        } = &*self.component;
        let applied = migrate::run_pending(target, database, options).await?;
        if !applied.is_empty() {
            // Writers whose transactions are open may plan by definitions from before.
            let planned = replan::fleet(database, LockedMachines::Wait, |_| {}).await;
            planned.map_err(|error| MigrationError::Failed(error.into()))?;
        }
        Ok(applied)
    }

    /// Applies the pending migrations of a program that has its own tables beside bmdb's, like
    /// [`run_all_of`](bmdb_model::migration::run_all_of), and waits like [`Bmdb::migrate`]. Run
    /// [`Bmdb::migrate`] first.
    ///
    /// # Errors
    /// [`MigrationError::VersionTaken`], and as [`Bmdb::migrate`].
    pub async fn migrate_with_source<S>(&self, source: S) -> Result<Vec<String>, MigrationError>
    where
        S: MigrationSource<Pg> + Send + Sync + 'static,
    {
        let component = &self.component;
        migrate::run_source(&component.target, &component.database, source).await
    }

    /// Adds or replaces a process's definition and replans the fleet by it; waits for transactions that are
    /// just writing tags. A process that loses its workflow is no longer due anywhere.
    ///
    /// The change waits for transactions that have written work items, such as a finish with a slow closure.
    /// It waits for 200 ms at a time, because claims queue behind it, and tries again for 30 s.
    /// Transactions that were to plan by the old definition are run again.
    ///
    /// Components that have claimed a process remember whether it is time-driven: restart them if that
    /// changes.
    ///
    /// Needs a member of `bmdb_owner`, unless the definition is in force already.
    ///
    /// Cancellation: the definition may be in force while part of the fleet is not replanned. Call this
    /// again; [`Bmdb::replan`] would skip machines that are just being written.
    ///
    /// # Errors
    /// [`bmdb_model::Error::InvalidDefinition`]; [`bmdb_model::Error::DefinitionBlocked`] names the
    /// connections in the way; the database's.
    pub async fn define_process(&self, definition: &ProcessDef) -> Result<(), TxError> {
        let database = &self.component.database;
        define::define(database, definition).await?;
        self.component.forget_process(&definition.process);
        replan::fleet(database, LockedMachines::Wait, |_| {}).await?;
        Ok(())
    }

    /// Replans every machine, in batches; returns the number of machines. This repairs plans that raw SQL
    /// has bypassed. Machines whose tags are just being written are left to that transaction. The janitors
    /// do the same slowly ([`Config::replan_period`]).
    ///
    /// Cancellation: machines that were planned stay planned.
    ///
    /// # Errors
    /// The database's.
    pub async fn replan(&self) -> Result<u64, TxError> {
        self.replan_with(|_| {}).await
    }

    /// Like [`Bmdb::replan`]; calls `progress` after each batch with the number of machines so far.
    ///
    /// # Errors
    /// As [`Bmdb::replan`].
    pub async fn replan_with(&self, progress: impl FnMut(u64) + Send) -> Result<u64, TxError> {
        replan::fleet(&self.component.database, LockedMachines::Skip, progress).await
    }

    /// Deletes history that `retention` does not keep, machine by machine in bounded batches; returns the
    /// number of rows. The janitors do the same slowly ([`Config::retention`]).
    ///
    /// Cancellation: rows that were deleted stay deleted.
    ///
    /// # Errors
    /// The database's.
    pub async fn trim_history(&self, retention: Retention) -> Result<u64, TxError> {
        trim::history(&self.component.database, retention).await
    }

    /// Shuts this component down in order, for example on SIGTERM:
    ///
    /// 1. The component refuses new work: claims, pollers, [`Session::work`] and [`Bmdb::start_session`]
    ///    fail with [`TxError::Draining`] from now on, for good; [`Bmdb::draining`] resolves.
    /// 2. Attempts, and other operations that are under way, get up to `limit` to end by themselves.
    /// 3. All sessions are closed: work that is still claimed is canceled, and its
    ///    [`Work::lost`](crate::Work::lost) resolves.
    /// 4. The background cleanup is finished, the attempt counts are written, and idle connections are
    ///    closed.
    ///
    /// Returns at the latest [`Config::connect_timeout`] after the limit, even if the database hangs; the
    /// result is whether everything ended by itself.
    ///
    /// It may be called more than once, also concurrently: each call waits until everything is done, and
    /// the earliest limit counts.
    ///
    /// Cancellation: the component refuses new work nevertheless. Sessions whose closing has begun are
    /// closed in the background; if the limit had not passed yet, another call closes them.
    ///
    /// # Errors
    /// [`TxError::Unavailable`] if the database did not answer in time. Sessions that could not be closed
    /// expire by themselves, and the janitor of another component frees their work.
    pub async fn drain(&self, limit: Duration) -> Result<bool, TxError> {
        drain::drain(&self.component, limit).await
    }

    /// Resolves when [`Bmdb::drain`] has been called, for programs that have more to do than end their
    /// attempts.
    pub async fn draining(&self) {
        self.component.draining().await;
    }
}
