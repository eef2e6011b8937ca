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
        self.touch_free(&[machine]).await?;
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

    /// Puts many machines on hold, like [`Tx::hold`] for each, in one statement. If a machine is named twice,
    /// the last reason counts.
    ///
    /// # Errors
    /// As [`Tx::hold`]; a reason that cannot be stored with [`bmdb_model::Error::OfMachine`], and then no
    /// machine is on hold.
    pub async fn hold_machines<R: AsRef<str> + Sync>(
        &mut self,
        reasons: &[(MachineId, R)],
    ) -> Result<(), TxError> {
        hold::set_all(self, reasons).await?;
        let machines: Vec<MachineId> = reasons.iter().map(|(machine, _)| *machine).collect();
        self.touch_free(&machines).await?;
        Ok(())
    }

    /// Releases many machines, in one statement; returns those that were on hold, in id order.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn release_holds(
        &mut self,
        machines: &[MachineId],
    ) -> Result<Vec<MachineId>, TxError> {
        self.touch_all(machines).await?;
        Ok(hold::unset_all(self, machines).await?)
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

    /// Puts one process on hold on many machines, like [`Tx::hold_process`] for each, in one statement. If a
    /// machine is named twice, the last reason counts.
    ///
    /// # Errors
    /// As [`Tx::hold_machines`].
    pub async fn hold_process_on_machines<R: AsRef<str> + Sync>(
        &mut self,
        process: &Process,
        reasons: &[(MachineId, R)],
    ) -> Result<(), TxError> {
        self.touch_machines_of(reasons).await?;
        Ok(hold::set_process_on_all(self, process, reasons).await?)
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

    /// Releases one process on many machines, in one statement; returns those where it was on hold, in id
    /// order.
    ///
    /// # Errors
    /// As [`Tx::release_holds`].
    pub async fn release_process_holds(
        &mut self,
        process: &Process,
        machines: &[MachineId],
    ) -> Result<Vec<MachineId>, TxError> {
        self.touch_all(machines).await?;
        Ok(hold::unset_process_on_all(self, machines, process).await?)
    }
}
