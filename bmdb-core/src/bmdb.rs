//! The handle of a connected component.

use crate::close;
use crate::component::Component;
use crate::config::Config;
use crate::error::{ConnectError, SessionError, TxError};
use crate::janitor;
use crate::lease::Lease;
use crate::session::{Session, SessionOptions};
use bmdb_model::MachineId;
use bmdb_model::history::{self, HistoryEvent};
use std::sync::Arc;
use std::time::Duration;
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
    /// # Errors
    /// [`SessionError::Migration`] when the database is not migrated or has moved past this
    /// component, even if that happened after it had connected; [`SessionError::InvalidOptions`], or
    /// a database error.
    pub async fn start_session(&self, options: SessionOptions) -> Result<Session, SessionError> {
        let (interval_seconds, margin) = options.validated()?;
        self.component.refuse_if_draining()?;
        let mut conn = self.component.pool.checkout().await?;
        self.component.check_schema(&mut conn).await?;
        let Config {
            component,
            runtime_info,
            ..
        } = &self.component.config;
        let sent = Instant::now();
        let id = bmdb_model::session::start(&mut conn, component, runtime_info, interval_seconds)
            .await
            .map_err(TxError::from)?;
        conn.give_back();
        let lease = Arc::new(Lease::new(id, options.interval, margin, sent));
        self.component.registry.add(lease.clone());
        Ok(Session::new(self.component.clone(), lease))
    }

    /// A machine's history, oldest first.
    ///
    /// # Errors
    /// A database error.
    pub async fn history_of(&self, machine: MachineId) -> Result<Vec<HistoryEvent>, TxError> {
        let mut conn = self.component.pool.checkout().await?;
        let events = history::of(&mut conn, machine).await?;
        conn.give_back();
        Ok(events)
    }

    /// Frees the work of expired sessions now, instead of waiting for the janitor's next turn.
    ///
    /// # Errors
    /// A database error.
    pub async fn free_lost_work(&self) -> Result<janitor::Losses, TxError> {
        janitor::free_lost_work(&self.component.pool).await
    }

    /// Takes on nothing new, waits up to `limit` for the works in progress to end, then closes all
    /// sessions, which cancels what is still held, and waits for what runs in the background.
    /// Whether every work ended by itself.
    ///
    /// # Errors
    /// A database error; sessions that could not be closed expire by themselves.
    pub async fn drain(&self, limit: Duration) -> Result<bool, TxError> {
        self.component.start_draining();
        let mut works = self.component.works.subscribe();
        let all_ended = works.wait_for(|works| *works == 0);
        let ended = tokio::time::timeout(limit, all_ended).await.is_ok();
        let mut first_error = None;
        for lease in self.component.registry.all() {
            let closed = close::close(&self.component.pool, &lease, &self.component.registry);
            match closed.await {
                Ok(()) | Err(TxError::SessionExpired) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        self.component.chores.idle().await;
        match first_error {
            None => Ok(ended),
            Some(error) => Err(error),
        }
    }
}
