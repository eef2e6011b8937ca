//! Recovery: a control loop for machines whose agents are silent. It reboots them, and reinstalls them if
//! that does not help.

use super::provider::FakeProvider;
use super::{print, start};
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::Work;
use bmdb_core::control_loop::{Commit, ControlLoop, Event, Failure, Machine};
use bmdb_model::{Process, Provider};
use std::sync::Arc;

/// After this many reboots without success, the machine is reinstalled.
const REBOOTS: i64 = 1;

pub(super) struct Recovery {
    provider: Arc<FakeProvider>,
}

impl Recovery {
    pub(super) fn new(provider: Arc<FakeProvider>) -> Self {
        Self { provider }
    }
}

impl ControlLoop for Recovery {
    fn workflow(&self) -> Process {
        Process::SHEPHERD_RECOVERY
    }

    fn providers(&self) -> Vec<Provider> {
        vec![start::PROVIDER]
    }

    fn backoff(&self) -> Backoff {
        Backoff::fixed(Seconds::MIN)
    }

    /// The number of the attempt decides what to do. The database counts attempts, so it makes no
    /// difference which program made the one before.
    async fn process(&self, _: &Work, machine: &Machine) -> Result<Commit, Failure> {
        let provided = machine
            .provided
            .as_ref()
            .ok_or("no provider has it any more")?;
        let (id, device) = (machine.id, &provided.provider_id);
        if machine.attempt > REBOOTS {
            self.provider.reinstall(device).await?;
            // Without an agent, the machine is due for agent start.
            return Ok(Commit::tags(async move |tx| tx.unset_agent(id).await));
        }
        self.provider.reboot(device).await?;
        if !self.provider.agent_answers(device).await? {
            return Err("rebooted, and still silent".into());
        }
        Ok(Commit::tags(async move |tx| {
            tx.set_agent_heartbeat(id, None).await
        }))
    }

    fn on_event(&self, event: &Event<'_>) {
        print("recovery", event);
    }
}
