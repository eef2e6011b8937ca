//! Listening to agents: who says that it does, and the observer of whether anybody does.
//!
//! An observation is never needed for safety: what was observed too long ago counts as a gap. It is needed so
//! that listening goes on, and machines that are silent are recovered.

use crate::db::database::Database;
use crate::db::retry::jittered;
use crate::db::transaction::TxOptions;
use crate::db::tx::Tx;
use crate::error::TxError;
use crate::lock::lock;
use crate::session::claimed_fences::ClaimedFences;
use crate::session::cleanup::CleanupTask;
use crate::session::component::Component;
use crate::session::core::SessionCore;
use bmdb_model::internal::agent;
use bmdb_model::{ErrorKind, Provider};
use diesel_async::AsyncPgConnection;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// After which time a claim observes by itself, because no janitor of this component has.
const CLAIMS_PERIOD: Duration = Duration::from_secs(15);

/// The longest time between two observations by a janitor.
const JANITORS_PERIOD: Duration = Duration::from_secs(14);

/// A program's statement that it listens to agents: see
/// [`Session::listen_to_agents`](crate::Session::listen_to_agents). It ends when this is dropped, or with the
/// session.
#[must_use = "listening ends when this is dropped"]
pub struct AgentListener {
    id: Uuid,
    provider: Option<Provider>,
    component: Arc<Component>,
    fences: Arc<ClaimedFences>,
}

impl std::fmt::Debug for AgentListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentListener")
            .field("session", &self.fences.lease.session)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

impl AgentListener {
    /// The provider whose agents it listens to; `None` is all of them.
    #[must_use]
    pub const fn provider(&self) -> Option<&Provider> {
        self.provider.as_ref()
    }

    /// Ends listening, like dropping this: in the background, and retried until the session ends.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for AgentListener {
    fn drop(&mut self) {
        let task = CleanupTask::StopListening(self.id, self.fences.clone());
        self.component.cleanup.add(task);
    }
}

/// See [`Session::listen_to_agents`](crate::Session::listen_to_agents).
pub(crate) async fn listen(
    session: &SessionCore,
    provider: Option<&Provider>,
) -> Result<AgentListener, TxError> {
    session.refuse_if_lost()?;
    // Before the row is written, so that it goes again if this future is dropped.
    let listener = AgentListener {
        id: Uuid::new_v4(),
        provider: provider.cloned(),
        component: session.component.clone(),
        fences: session.claimed_fences.clone(),
    };
    let (listener_id, session_id) = (listener.id, session.lease().session);
    let start = &async |tx: &mut Tx<'_>| {
        Ok(agent::start_listening(tx, listener_id, session_id, provider).await?)
    };
    let mut retry = session.retry(None);
    let started = session.run(TxOptions::read_committed().into(), &mut retry, start);
    started.await?.committed()?;
    // So that nobody waits for the next janitor.
    observe(&session.component.database).await;
    Ok(listener)
}

/// When this component last observed who listens to agents, by its own clock.
#[derive(Debug, Default)]
pub(crate) struct ListeningObserver {
    last: Mutex<Option<Instant>>,
}

impl ListeningObserver {
    /// Observes on the connection of a claim that is about to replan, if this component has not for a while.
    /// Only a lost connection is an error.
    pub(crate) async fn observe_before_claim(
        &self,
        conn: &mut AsyncPgConnection,
    ) -> Result<(), TxError> {
        {
            let mut last = lock(&self.last);
            if last.is_some_and(|last| last.elapsed() < CLAIMS_PERIOD) {
                return Ok(());
            }
            *last = Some(Instant::now());
        }
        match agent::observe_listening(conn).await.map_err(TxError::from) {
            Err(error) if error.kind() == Some(ErrorKind::ConnectionLost) => Err(error),
            Err(error) => {
                log(&error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Observes until it is aborted, however seldom the janitor takes its turn.
    pub(crate) async fn run(self: Arc<Self>, database: Database) {
        let entropy = Uuid::new_v4().as_u128();
        for turn in 0.. {
            *lock(&self.last) = Some(Instant::now());
            observe(&database).await;
            let third = JANITORS_PERIOD / 3;
            tokio::time::sleep(third * 2 + jittered(third, bmdb_backoff::mix(entropy, turn))).await;
        }
    }
}

/// Observes now. An error is only logged: the next observation is soon, and a gap does no harm.
pub(crate) async fn observe(database: &Database) {
    let observed = database.run(async |conn| Ok(agent::observe_listening(conn).await?));
    if let Err(error) = observed.await {
        log(&error);
    }
}

fn log(error: &TxError) {
    tracing::debug!(%error, "it could not be observed who listens to agents");
}
