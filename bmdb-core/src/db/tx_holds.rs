//! Holds in an open transaction: of a machine, and of one process there.

use crate::db::tx::Tx;
use crate::error::TxError;
use bmdb_model::{MachineId, Process, hold};

impl Tx<'_> {
    /// Puts a machine on hold: nothing new starts on it once this is committed, because claims look at the
    /// hold itself. It does not wait for a transaction that is writing the machine's tags; that one plans
    /// the machine.
    ///
    /// # Errors
    /// [`bmdb_model::Error::Empty`], [`bmdb_model::Error::TooLong`] or [`bmdb_model::Error::NulByte`] for the reason,
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn hold(&mut self, machine: MachineId, reason: &str) -> Result<(), TxError> {
        hold::set(self, machine, reason).await?;
        self.touch_if_free(machine).await?;
        Ok(())
    }

    /// Releases a machine; returns whether it was on hold.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn release_hold(&mut self, machine: MachineId) -> Result<bool, TxError> {
        self.touch(machine).await?;
        Ok(hold::unset(self, machine).await?)
    }

    /// Puts one process on hold on a machine, or changes the reason of that hold: it does not start there
    /// any more, and others do. Claimed work continues.
    ///
    /// # Errors
    /// As [`Tx::hold`].
    pub async fn hold_process(
        &mut self,
        machine: MachineId,
        process: &Process,
        reason: &str,
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(hold::set_process(self, machine, process, reason).await?)
    }

    /// Releases one process on a machine; returns whether it was on hold there. A hold of the machine as a
    /// whole is another one: see [`Tx::release_hold`].
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn release_process_hold(
        &mut self,
        machine: MachineId,
        process: &Process,
    ) -> Result<bool, TxError> {
        self.touch(machine).await?;
        Ok(hold::unset_process(self, machine, process).await?)
    }
}
