//! The control loop that recovers machines whose agents have fallen silent: by a reboot, and where that
//! does not help by a new installation.

use super::provider::FakeProvider;
use super::{start, tell};
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::Work;
use bmdb_core::control_loop::{Commit, ControlLoop, Event, Failure, Machine};
use bmdb_model::{Process, Provider};
use std::sync::Arc;

/// After as many reboots in vain the machine is installed anew.
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

    /// Which attempt it is decides what is tried: the database counts them, so that it makes no
    /// difference which program made the one before.
    async fn process(&self, _: &Work, machine: &Machine) -> Result<Commit, Failure> {
        let provided = machine
            .provided
            .as_ref()
            .ok_or("nobody provides it any more")?;
        let (id, device) = (machine.id, &provided.provider_id);
        if machine.attempt > REBOOTS {
            self.provider.reinstall(device).await?;
            // There is no agent any more, which makes the machine due for the start of one.
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
        tell("recovery", event);
    }
}
