//! Writing machines and their tags within a transaction: each method touches the machine first.

use crate::db::transaction::Tx;
use crate::error::TxError;
use crate::session::agents::only;
use bmdb_model::os_installation::{self, InstallationResult};
use bmdb_model::tag::{self, TagName};
use bmdb_model::{
    AgentHeartbeat, AgentStarted, MachineId, Provided, agent, hardware, hold, internal, machine,
    provided,
};
use chrono::{DateTime, Utc};

impl Tx<'_> {
    /// Creates a machine without tags.
    ///
    /// # Errors
    /// The database's.
    pub async fn create_machine(&mut self) -> Result<MachineId, TxError> {
        let id = MachineId::random();
        self.create_machine_as(id).await?;
        Ok(id)
    }

    /// Creates a machine under an id that is known already.
    ///
    /// # Errors
    /// The database's; a unique violation when the id is taken.
    pub async fn create_machine_as(&mut self, id: MachineId) -> Result<(), TxError> {
        machine::create(self, &[id]).await?;
        self.made([id]);
        Ok(())
    }

    /// Deletes a machine with its tags and idle work items. Its history stays.
    ///
    /// # Errors
    /// [`bmdb_model::Error::MachineHasWork`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn delete_machine(&mut self, id: MachineId) -> Result<(), TxError> {
        machine::delete(self, id).await?;
        self.unmade(id);
        Ok(())
    }

    /// Says which provider the machine comes from, and as what.
    ///
    /// # Errors
    /// [`bmdb_model::Error::ProviderIdTaken`], [`bmdb_model::Error::NulByte`],
    /// [`bmdb_model::Error::Empty`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_provided(
        &mut self,
        machine: MachineId,
        provided: &Provided,
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(provided::set(self, machine, provided).await?)
    }

    /// Says that the agent was started. Heartbeats from before the start are forgotten: they were
    /// another agent's.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_agent_started(
        &mut self,
        machine: MachineId,
        started: &AgentStarted,
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(agent::set_started(self, machine, started).await?)
    }

    /// Says that the agent is gone, as before a reinstallation: start and heartbeat are deleted.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn unset_agent(&mut self, machine: MachineId) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(agent::unset(self, machine).await?)
    }

    /// Takes any of the tags that come with bmdb from a machine; whether it had it. The agent's heartbeat
    /// goes with its start. A hold is no such tag: see [`Tx::release_hold`].
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn unset_tag(&mut self, machine: MachineId, tag: TagName) -> Result<bool, TxError> {
        self.touch(machine).await?;
        Ok(tag::unset(self, machine, tag).await?)
    }

    /// Says that the agent was heard from, now or at a known time.
    ///
    /// Only a first heartbeat and one set back are planned by: they make the machine due for
    /// recovery earlier. All others are one statement that touches nothing else.
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

    /// Says that the agents of many machines were heard from: as [`Tx::set_agent_heartbeat`] for each,
    /// the latest where a machine is named twice. One statement, unless some have to be planned.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_agent_heartbeats(
        &mut self,
        heartbeats: &[AgentHeartbeat],
    ) -> Result<(), TxError> {
        // Always an answer: there is no session to be found expired.
        let rest = internal::agent::advance_heartbeats(self, None, heartbeats).await?;
        let rest = only(heartbeats, &rest.unwrap_or_default());
        if rest.is_empty() {
            return Ok(());
        }
        let machines: Vec<MachineId> = rest.iter().map(|(machine, _)| *machine).collect();
        self.touch_all(&machines).await?;
        Ok(internal::agent::set_heartbeats(self, &rest).await?)
    }

    /// Stores what the agent found in the machine.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_hardware_report(
        &mut self,
        machine: MachineId,
        raw: &[u8],
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(hardware::set(self, machine, raw).await?)
    }

    /// Asks for the installation of an operating system; a new generation replaces the one before.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_os_installation_request(
        &mut self,
        machine: MachineId,
        generation: i64,
        raw: &[u8],
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(os_installation::set_request(self, machine, generation, raw).await?)
    }

    /// Reports how the installation of a generation ended.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
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

    /// Puts a machine on hold: nothing new starts on it.
    ///
    /// # Errors
    /// [`bmdb_model::Error::Empty`] or [`bmdb_model::Error::NulByte`] for the reason,
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn hold(&mut self, machine: MachineId, reason: &str) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(hold::set(self, machine, reason).await?)
    }

    /// Releases a machine; whether it was on hold.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn release_hold(&mut self, machine: MachineId) -> Result<bool, TxError> {
        self.touch(machine).await?;
        Ok(hold::unset(self, machine).await?)
    }
}
