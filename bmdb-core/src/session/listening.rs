//! Listening to agents: the handle of a program that says that it does.

use crate::db::transaction::TxOptions;
use crate::db::tx::Tx;
use crate::error::TxError;
use crate::session::claimed_fences::ClaimedFences;
use crate::session::cleanup::CleanupTask;
use crate::session::component::Component;
use crate::session::core::SessionCore;
use crate::session::listening_observer::observe;
use bmdb_model::Provider;
use bmdb_model::internal::agent;
use std::sync::Arc;
use uuid::Uuid;

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
