//! The control loop that starts agents, on machines that have none.

use super::provider::FakeProvider;
use super::tell;
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::Work;
use bmdb_core::control_loop::{Commit, ControlLoop, Event, Failure, Machine};
use bmdb_model::{AgentStarted, Process, Provider};
use std::sync::Arc;

/// The fake provider goes by the name of one that the database knows.
pub(super) const PROVIDER: Provider = Provider::LUMEN;

pub(super) struct AgentStart {
    provider: Arc<FakeProvider>,
}

impl AgentStart {
    pub(super) fn new(provider: Arc<FakeProvider>) -> Self {
        Self { provider }
    }
}

impl ControlLoop for AgentStart {
    fn workflow(&self) -> Process {
        Process::SHEPHERD_AGENT_START
    }

    fn providers(&self) -> Vec<Provider> {
        vec![PROVIDER]
    }

    /// Nobody wants to wait for an example.
    fn backoff(&self) -> Backoff {
        Backoff::fixed(Seconds::MIN)
    }

    async fn process(&self, _: &Work, machine: &Machine) -> Result<Commit, Failure> {
        let provided = machine
            .provided
            .as_ref()
            .ok_or("nobody provides it any more")?;
        let key = self.provider.start_agent(&provided.provider_id).await?;
        let (id, started) = (machine.id, AgentStarted::now(key));
        Ok(Commit::tags(async move |tx| {
            tx.set_agent_started(id, &started).await?;
            tx.set_agent_heartbeat(id, None).await
        }))
    }

    fn on_event(&self, event: &Event<'_>) {
        tell("agent start", event);
    }
}
