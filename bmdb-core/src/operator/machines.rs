//! Machines by hand: creating, importing, holding, releasing and deleting them.

use super::{Operator, OperatorError, record, transact};
#[cfg(feature = "fleet")]
use crate::operator::fleet::{Fleet, Imported};
use crate::session::Session;
use bmdb_model::internal::operator::NewAction;
use bmdb_model::operator::Verb;
use bmdb_model::{MachineId, Provided, hold, provided};

impl Operator {
    /// Makes a machine known, under this id or a random one, with where it comes from if that is known.
    ///
    /// Cancellation: it is created with its trace, or neither.
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: a unique violation where the id is taken,
    /// [`bmdb_model::Error::ProviderIdTaken`].
    pub async fn create_machine(
        &self,
        session: &Session,
        id: Option<MachineId>,
        provided: Option<&Provided>,
    ) -> Result<MachineId, OperatorError> {
        let machine = id.unwrap_or_else(MachineId::random);
        transact(session, async |tx| {
            tx.create_machine_as(machine).await?;
            let mut act = self.act_on(Verb::CreateMachine, machine);
            if let Some(provided) = provided {
                tx.set_provided(machine, provided).await?;
                act.details = identity(provided);
            }
            record(tx, &act).await?;
            Ok(machine)
        })
        .await
    }

    /// Makes all machines of a fleet known, or none, with one trace for all of them; returns what was
    /// created.
    ///
    /// Cancellation: as [`Operator::create_machine`].
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::ProviderIdTaken`] or
    /// [`bmdb_model::Error::MachineExists`] for the first machine that is known already.
    #[cfg(feature = "fleet")]
    pub async fn import(
        &self,
        session: &Session,
        fleet: &Fleet,
    ) -> Result<Imported, OperatorError> {
        transact(session, async |tx| {
            let imported = tx.import_fleet(fleet).await?;
            record(tx, &self.imported(imported.created.len())).await?;
            Ok(imported)
        })
        .await
    }

    /// Makes those machines of a fleet known that are not yet, with one trace for all of them, and leaves
    /// the others as they are.
    ///
    /// Cancellation: as [`Operator::create_machine`].
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::MachineExists`] for a machine id that belongs
    /// to another machine.
    #[cfg(feature = "fleet")]
    pub async fn import_unknown(
        &self,
        session: &Session,
        fleet: &Fleet,
    ) -> Result<Imported, OperatorError> {
        transact(session, async |tx| {
            let imported = tx.import_unknown(fleet).await?;
            if !imported.created.is_empty() {
                record(tx, &self.imported(imported.created.len())).await?;
            }
            Ok(imported)
        })
        .await
    }

    #[cfg(feature = "fleet")]
    fn imported(&self, machines: usize) -> NewAction<'_> {
        NewAction {
            details: vec![("machines", machines.to_string())],
            ..self.act(Verb::ImportMachines)
        }
    }

    /// Puts a machine on hold, or gives its hold this reason: nothing new starts on it until it is
    /// released; work that is being done goes on. The reason of the hold is the operator's; a machine that
    /// is on hold for it already is left as it is.
    ///
    /// Cancellation: as [`Operator::create_machine`].
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::NoSuchMachine`], and
    /// [`bmdb_model::Error::Empty`] without a reason.
    pub async fn hold(&self, session: &Session, machine: MachineId) -> Result<(), OperatorError> {
        transact(session, async |tx| {
            tx.touch(machine).await?;
            let before = hold::of(tx, machine).await?;
            let reason = self.reason.as_deref().unwrap_or_default();
            if before
                .as_ref()
                .is_some_and(|before| before.reason == reason)
            {
                return Ok(());
            }
            tx.hold(machine, reason).await?;
            let before = before.map(|hold| ("reason before", hold.reason));
            let act = NewAction {
                details: before.into_iter().collect(),
                ..self.act_on(Verb::HoldMachine, machine)
            };
            record(tx, &act).await
        })
        .await
    }

    /// Releases a machine from its hold; whether it was on hold.
    ///
    /// Cancellation: as [`Operator::create_machine`].
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::NoSuchMachine`].
    pub async fn release_hold(
        &self,
        session: &Session,
        machine: MachineId,
    ) -> Result<bool, OperatorError> {
        transact(session, async |tx| {
            tx.touch(machine).await?;
            let Some(before) = hold::of(tx, machine).await? else {
                return Ok(false);
            };
            tx.release_hold(machine).await?;
            let act = NewAction {
                details: vec![
                    ("held because", before.reason),
                    ("held since", before.since.to_rfc3339()),
                ],
                ..self.act_on(Verb::ReleaseMachine, machine)
            };
            record(tx, &act).await?;
            Ok(true)
        })
        .await
    }

    /// Deletes a machine with its tags and idle work items. Its history stays, and so does this.
    ///
    /// Cancellation: as [`Operator::create_machine`].
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::MachineHasWork`],
    /// [`bmdb_model::Error::NoSuchMachine`].
    pub async fn delete_machine(
        &self,
        session: &Session,
        machine: MachineId,
    ) -> Result<(), OperatorError> {
        transact(session, async |tx| {
            tx.touch(machine).await?;
            let was = provided::of(tx, machine).await?;
            tx.delete_machine(machine).await?;
            let act = NewAction {
                details: was.as_ref().map(identity).unwrap_or_default(),
                ..self.act_on(Verb::DeleteMachine, machine)
            };
            record(tx, &act).await
        })
        .await
    }
}

fn identity(provided: &Provided) -> Vec<(&'static str, String)> {
    vec![
        ("provider", provided.provider.to_string()),
        ("provider_id", provided.provider_id.clone()),
    ]
}
