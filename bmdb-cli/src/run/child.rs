//! Child process: the machine as JSON and environment variables for a command.

use bmdb_core::Work;
use bmdb_core::control_loop::Machine;
use serde::Serialize;
use tokio::process::Command;

/// The JSON on standard input, as docs/cli/run.md describes. The environment has the same values.
#[derive(Serialize)]
pub(super) struct ChildInput<'a> {
    process: &'a str,
    machine_id: String,
    provider: Option<&'a str>,
    provider_id: Option<&'a str>,
    address: Option<&'a str>,
    location: Option<&'a str>,
    status: Option<String>,
    fence: i64,
    attempt: i64,
    previous_interval_seconds: Option<u32>,
}

impl<'a> ChildInput<'a> {
    pub(super) fn new(work: &'a Work, machine: &'a Machine) -> Self {
        let provided = machine.provided.as_ref();
        Self {
            process: work.process().as_str(),
            machine_id: machine.id.to_string(),
            provider: provided.map(|p| p.provider.as_str()),
            provider_id: provided.map(|p| p.provider_id.as_str()),
            address: provided.and_then(|p| p.ip_address.as_deref()),
            location: provided.and_then(|p| p.location.as_deref()),
            status: provided.and_then(|p| Some(p.status?.to_string())),
            fence: work.fence().get(),
            attempt: machine.attempt,
            previous_interval_seconds: machine.previous_interval.map(|interval| interval.get()),
        }
    }

    /// Sets the environment. An unknown value is an empty string, for shells with `set -u`.
    pub(super) fn set_environment(&self, command: &mut Command) {
        command
            .env("BMDB_PROCESS", self.process)
            .env("BMDB_MACHINE_ID", &self.machine_id)
            .env("BMDB_PROVIDER", self.provider.unwrap_or_default())
            .env("BMDB_PROVIDER_ID", self.provider_id.unwrap_or_default())
            .env("BMDB_ADDRESS", self.address.unwrap_or_default())
            .env("BMDB_FENCE", self.fence.to_string())
            .env("BMDB_ATTEMPT", self.attempt.to_string())
            // These may contain passwords.
            .env_remove("BMDB_DATABASE_URL")
            .env_remove("BMDB_READ_URL")
            .env_remove("PGPASSWORD");
    }

    pub(super) fn json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        json.push(b'\n');
        json
    }
}
