//! Agent start: a control loop for machines without an agent.

use super::print;
use super::provider::FakeProvider;
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::Work;
use bmdb_core::control_loop::{Commit, ControlLoop, Event, Failure, Machine};
use bmdb_model::{AgentStarted, Process, Provider};
use std::sync::Arc;

/// The fake provider uses the name of one that the database knows.
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

    /// An example should be quick.
    fn backoff(&self) -> Backoff {
        Backoff::fixed(Seconds::MIN)
    }

    async fn process(&self, _: &Work, machine: &Machine) -> Result<Commit, Failure> {
        let provided = machine
            .provided
            .as_ref()
            .ok_or("no provider has it any more")?;
        let key = self.provider.start_agent(&provided.provider_id).await?;
        let (id, started) = (machine.id, AgentStarted::now(key));
        Ok(Commit::tags(async move |tx| {
            tx.set_agent_started(id, &started).await?;
            tx.set_agent_heartbeat(id, None).await
        }))
    }

    fn on_event(&self, event: &Event<'_>) {
        print("agent start", event);
    }
}
