//! Tags in an open transaction: of one machine, and of many in one statement.

use crate::db::tx::Tx;
use crate::error::TxError;
use bmdb_model::internal;
use bmdb_model::os_installation::{
    self, InstallationReport, InstallationRequest, InstallationResult,
};
use bmdb_model::tag::{self, TagName};
use bmdb_model::{
    AgentHeartbeat, AgentStarted, MachineId, Provided, ProvidedMachine, TagWrites, agent, hardware,
    provided,
};
use chrono::{DateTime, Utc};

/// # Tags of one machine
/// Every method that writes tags touches its machines first.
impl Tx<'_> {
    /// Sets the tag `provided`: the provider of the machine, and its identity there.
    ///
    /// # Errors
    /// [`bmdb_model::Error::ProviderIdTaken`], [`bmdb_model::Error::NulByte`],
    /// [`bmdb_model::Error::TooLong`], [`bmdb_model::Error::Empty`], [`bmdb_model::Error::NoSuchMachine`], the
    /// database's.
    pub async fn set_provided(
        &mut self,
        machine: MachineId,
        provided: &Provided,
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(provided::set(self, machine, provided).await?)
    }

    /// Records that the agent was started. Deletes heartbeats from before the start: an earlier agent sent
    /// them.
    ///
    /// # Errors
    /// [`bmdb_model::Error::TooLong`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_agent_started(
        &mut self,
        machine: MachineId,
        started: &AgentStarted,
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(agent::set_started(self, machine, started).await?)
    }

    /// Records that the agent is gone, for example before a reinstallation: deletes its start and
    /// heartbeat.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn unset_agent(&mut self, machine: MachineId) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(agent::unset(self, machine).await?)
    }

    /// Removes one of bmdb's own tags from a machine, and the agent's heartbeat with its start; returns
    /// whether the machine had it. A hold is not such a tag: see [`Tx::release_hold`].
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn unset_tag(&mut self, machine: MachineId, tag: TagName) -> Result<bool, TxError> {
        self.touch(machine).await?;
        Ok(tag::unset(self, machine, tag).await?)
    }

    /// Records a heartbeat of the agent, now or at a given time.
    ///
    /// Only a first heartbeat, and one that moves the time back, are planned: they make the machine due
    /// for recovery earlier. Every other heartbeat is one statement that touches nothing else.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_agent_heartbeat(
        &mut self,
        machine: MachineId,
        at: Option<DateTime<Utc>>,
    ) -> Result<(), TxError> {
        if agent::advance_heartbeat(self, machine, at).await? {
            return Ok(());
        }
        self.touch(machine).await?;
        Ok(agent::set_heartbeat(self, machine, at).await?)
    }

    /// Stores the agent's report of the machine's hardware.
    ///
    /// # Errors
    /// [`bmdb_model::Error::TooLong`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_hardware_report(
        &mut self,
        machine: MachineId,
        raw: &[u8],
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(hardware::set(self, machine, raw).await?)
    }

    /// Requests the installation of an operating system; a new generation replaces the one before.
    ///
    /// # Errors
    /// [`bmdb_model::Error::TooLong`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_os_installation_request(
        &mut self,
        machine: MachineId,
        generation: i64,
        raw: &[u8],
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(os_installation::set_request(self, machine, generation, raw).await?)
    }

    /// Reports the result of installing a generation.
    ///
    /// # Errors
    /// [`bmdb_model::Error::TooLong`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_os_installation_report(
        &mut self,
        machine: MachineId,
        generation: i64,
        result: InstallationResult,
        raw: &[u8],
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(os_installation::set_report(self, machine, generation, result, raw).await?)
    }
}

/// # Tags of many machines
/// Each of these methods touches all its machines in one statement and writes their tags in another one,
/// however many machines there are; values of more than 32 MiB together take several. If a machine is
/// named twice, the last entry counts.
///
/// A value that cannot be stored refuses all of them before anything is written, with
/// [`bmdb_model::Error::OfMachine`], which names the machine.
impl Tx<'_> {
    /// Writes and removes any tags of many machines: one statement for each kind of tag that occurs. If a
    /// machine is named twice, the later entry counts for the tags that it writes.
    ///
    /// # Errors
    /// [`bmdb_model::Error::OfMachine`] with an error of [`TagWrites::check`],
    /// [`bmdb_model::Error::ProviderIdTaken`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn write_tags(&mut self, writes: &[(MachineId, TagWrites)]) -> Result<(), TxError> {
        let writes: Vec<(MachineId, &TagWrites)> = writes
            .iter()
            .filter(|(_, writes)| !writes.is_empty())
            .map(|(machine, writes)| (*machine, writes))
            .collect();
        self.touch_machines_of(&writes).await?;
        Ok(internal::tag_writes::write_all_pipelined(self, &writes).await?)
    }

    /// Sets the tag `provided` of many machines, in the order of their ids: an id that one machine gives up
    /// can be given to a later one.
    ///
    /// # Errors
    /// As [`Tx::set_provided`]; [`bmdb_model::Error::ProviderIdTaken`] also if two of the machines have the
    /// same id.
    pub async fn set_all_provided(&mut self, machines: &[ProvidedMachine]) -> Result<(), TxError> {
        let ids: Vec<MachineId> = machines.iter().map(|machine| machine.machine_id).collect();
        self.touch_all(&ids).await?;
        Ok(provided::set_all(self, machines).await?)
    }

    /// Records that many agents were started, like [`Tx::set_agent_started`] for each.
    ///
    /// # Errors
    /// As [`Tx::set_agent_started`].
    pub async fn set_agents_started(
        &mut self,
        started: &[(MachineId, AgentStarted)],
    ) -> Result<(), TxError> {
        self.touch_machines_of(started).await?;
        Ok(agent::set_all_started(self, started).await?)
    }

    /// Records that many agents are gone, like [`Tx::unset_agent`] for each.
    ///
    /// # Errors
    /// As [`Tx::unset_agent`].
    pub async fn unset_agents(&mut self, machines: &[MachineId]) -> Result<(), TxError> {
        self.unset_tags(machines, TagName::AgentStarted).await?;
        Ok(())
    }

    /// Removes a tag from many machines, like [`Tx::unset_tag`] for each; returns the machines that had it,
    /// in id order.
    ///
    /// # Errors
    /// As [`Tx::unset_tag`].
    pub async fn unset_tags(
        &mut self,
        machines: &[MachineId],
        tag: TagName,
    ) -> Result<Vec<MachineId>, TxError> {
        self.touch_all(machines).await?;
        Ok(tag::unset_all(self, machines, tag).await?)
    }

    /// Records heartbeats of many agents, like [`Tx::set_agent_heartbeat`] for each; if a machine is named
    /// twice, the latest heartbeat counts. One statement, unless some have to be planned.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_agent_heartbeats(
        &mut self,
        heartbeats: &[AgentHeartbeat],
    ) -> Result<(), TxError> {
        // Never `None`: without a session, none can have expired.
        let rest = internal::agent::advance_heartbeats(self, None, heartbeats).await?;
        let rest = heartbeats_of(heartbeats, &rest.unwrap_or_default());
        if rest.is_empty() {
            return Ok(());
        }
        self.touch_machines_of(&rest).await?;
        Ok(internal::agent::set_heartbeats(self, &rest).await?)
    }

    /// Stores the hardware reports of many agents, like [`Tx::set_hardware_report`] for each.
    ///
    /// # Errors
    /// As [`Tx::set_hardware_report`].
    pub async fn set_hardware_reports<R: AsRef<[u8]> + Sync>(
        &mut self,
        reports: &[(MachineId, R)],
    ) -> Result<(), TxError> {
        self.touch_machines_of(reports).await?;
        Ok(hardware::set_all(self, reports).await?)
    }

    /// Requests installations on many machines, like [`Tx::set_os_installation_request`] for each.
    ///
    /// # Errors
    /// As [`Tx::set_os_installation_request`].
    pub async fn set_os_installation_requests(
        &mut self,
        requests: &[(MachineId, InstallationRequest)],
    ) -> Result<(), TxError> {
        self.touch_machines_of(requests).await?;
        Ok(os_installation::set_requests(self, requests).await?)
    }

    /// Reports the results of many installations, like [`Tx::set_os_installation_report`] for each.
    ///
    /// # Errors
    /// As [`Tx::set_os_installation_report`].
    pub async fn set_os_installation_reports(
        &mut self,
        reports: &[(MachineId, InstallationReport)],
    ) -> Result<(), TxError> {
        self.touch_machines_of(reports).await?;
        Ok(os_installation::set_reports(self, reports).await?)
    }
}

/// The heartbeats of these machines. `machines` must be in id order.
pub(crate) fn heartbeats_of(
    heartbeats: &[AgentHeartbeat],
    machines: &[MachineId],
) -> Vec<AgentHeartbeat> {
    heartbeats
        .iter()
        .filter(|(machine, _)| machines.binary_search(machine).is_ok())
        .copied()
        .collect()
}
