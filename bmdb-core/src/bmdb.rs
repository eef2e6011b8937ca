//! The handle of a connected component.

use crate::db::config::Config;
use crate::db::deadline::Patience;
use crate::error::{ConnectError, SessionError, TxError};
use crate::maintenance::dry_run::{self, DryRun};
use crate::maintenance::janitor;
use crate::maintenance::janitor::JanitorReport;
use crate::maintenance::reclaim::{self, Reclaimed};
use crate::session::Session;
use crate::session::component::Component;
use crate::session::lease::Lease;
use crate::session::options::SessionOptions;
use bmdb_model::MachineId;
use bmdb_model::history::{self, HistoryEvent};
use bmdb_model::migration::MigrationError;
use std::sync::Arc;
use tokio::time::Instant;

/// A connected component. Clones share one connection pool, one heartbeat and one janitor, which end
/// with the last clone, session and work.
#[derive(Clone)]
pub struct Bmdb {
    pub(crate) component: Arc<Component>,
}

impl std::fmt::Debug for Bmdb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bmdb")
            .field("config", &self.component.config)
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
    /// Cancellation: nothing stays behind.
    ///
    /// # Errors
    /// Every variant of [`ConnectError`].
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        Ok(Self {
            component: Arc::new(Component::start(config).await?),
        })
    }

    /// Starts a session: a lease that is kept alive in the background until the session is closed or
    /// dropped.
    ///
    /// Cancellation: a dropped future may leave a session in the database that nobody keeps alive. It
    /// holds nothing, expires after its interval, and the next janitor removes it.
    ///
    /// # Errors
    /// [`SessionError::Migration`] when the database is not migrated or has moved past this
    /// component, even if that happened after it had connected; [`SessionError::InvalidOptions`], or
    /// a database error.
    pub async fn start_session(&self, options: SessionOptions) -> Result<Session, SessionError> {
        let terms = options.terms()?;
        self.component.refuse_if_draining()?;
        let pool = &self.component.pool;
        let patience = Patience::of_server(pool);
        let mut conn = patience.checkout(pool).await?;
        let checked = async { Ok::<_, TxError>(self.component.check_schema(&mut conn).await) };
        match patience.answer(checked).await? {
            // The connection's fault, and no word about the schema.
            Err(MigrationError::Database(error)) => return Err(TxError::from(error).into()),
            checked => checked?,
        }
        let Config {
            component,
            runtime_info,
            ..
        } = &self.component.config;
        let sent = Instant::now();
        let seconds = terms.interval_seconds();
        let id = bmdb_model::internal::session::start(&mut conn, component, runtime_info, seconds);
        let id = patience.answer(id).await.map_err(TxError::from)?;
        conn.give_back();
        let lease = Arc::new(Lease::new(id, terms, sent));
        self.component.registry.add(lease.clone());
        self.component.meters.session_started.increment(1);
        let session = Session::new(self.component.clone(), lease);
        // Draining that began meanwhile has not seen it. What is dropped is closed.
        self.component.refuse_if_draining()?;
        Ok(session)
    }

    /// A machine's history, oldest first.
    ///
    /// # Errors
    /// A database error.
    pub async fn history_of(&self, machine: MachineId) -> Result<Vec<HistoryEvent>, TxError> {
        let pool = &self.component.pool;
        let patience = Patience::of_server(pool);
        let mut conn = patience.checkout(pool).await?;
        let events = patience.answer(history::of(&mut conn, machine)).await?;
        conn.give_back();
        Ok(events)
    }

    /// Frees the work of expired sessions now, instead of waiting for the janitor's next turn.
    ///
    /// # Errors
    /// A database error.
    pub async fn reclaim_expired(&self) -> Result<Reclaimed, TxError> {
        reclaim::free(&self.component.pool, &self.component.tally).await
    }

    /// Takes a turn of the janitor now, whether this component has one or not: frees the work of
    /// expired sessions, and does the chunks of upkeep that are due, as far as [`Config`] has this
    /// component do them. [`Bmdb::janitor_dry_run`] tells beforehand.
    ///
    /// Cancellation: what has been committed stays, and the rest is left to the next turn.
    ///
    /// # Errors
    /// A database error. The work that was freed before a chunk failed stays free.
    pub async fn janitor_turn(&self) -> Result<JanitorReport, TxError> {
        let Component {
            pool,
            upkeep,
            tally,
            ..
        } = &*self.component;
        let turn = janitor::take_turn(pool, upkeep, tally).await;
        // Whoever takes one turn may end right after it.
        self.component.tell_if_over().await;
        turn
    }

    /// What a turn of the janitor would do now. Writes and locks nothing; reads all of the history
    /// where this component trims it.
    ///
    /// # Errors
    /// A database error.
    pub async fn janitor_dry_run(&self) -> Result<DryRun, TxError> {
        dry_run::preview(&self.component.pool, &self.component.upkeep).await
    }
}
