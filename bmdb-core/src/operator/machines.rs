//! Operator actions on machines.

use super::audit::{Author, record, transact};
use super::error::OperatorError;
#[cfg(feature = "fleet")]
use crate::fleet::{Fleet, Imported};
use crate::session::Session;
use bmdb_model::internal::operator::NewAction;
use bmdb_model::operator::Verb;
use bmdb_model::{MachineId, Process, Provided, hold, provided, time};

pub(super) async fn create(
    author: &Author,
    session: &Session,
    id: Option<MachineId>,
    provided: Option<&Provided>,
) -> Result<MachineId, OperatorError> {
    let machine = id.unwrap_or_else(MachineId::random);
    transact(session, async |tx| {
        tx.create_machine_as(machine).await?;
        let mut action = author.action_on(Verb::CreateMachine, machine);
        if let Some(provided) = provided {
            tx.set_provided(machine, provided).await?;
            action.details = identity(provided);
        }
        record(tx, &action).await?;
        Ok(machine)
    })
    .await
}

#[cfg(feature = "fleet")]
pub(super) async fn import(
    author: &Author,
    session: &Session,
    fleet: &Fleet,
) -> Result<Imported, OperatorError> {
    transact(session, async |tx| {
        let imported = tx.import_fleet(fleet).await?;
        record(tx, &imported_action(author, imported.created.len())).await?;
        Ok(imported)
    })
    .await
}

#[cfg(feature = "fleet")]
pub(super) async fn import_unknown(
    author: &Author,
    session: &Session,
    fleet: &Fleet,
) -> Result<Imported, OperatorError> {
    transact(session, async |tx| {
        let imported = tx.import_unknown(fleet).await?;
        if !imported.created.is_empty() {
            record(tx, &imported_action(author, imported.created.len())).await?;
        }
        Ok(imported)
    })
    .await
}

#[cfg(feature = "fleet")]
fn imported_action(author: &Author, machines: usize) -> NewAction<'_> {
    NewAction {
        details: vec![("machines", machines.to_string())],
        ..author.action(Verb::ImportMachines)
    }
}

/// The hold is committed first, with its record, and binds by itself. It neither waits for transactions that
/// write the machine's tags nor depends on a plan.
pub(super) async fn hold(
    author: &Author,
    session: &Session,
    machine: MachineId,
) -> Result<(), OperatorError> {
    transact(session, async |tx| {
        let before = hold::of(tx, machine).await?;
        let reason = author.reason.as_deref().unwrap_or_default();
        if before
            .as_ref()
            .is_some_and(|before| before.reason == reason)
        {
            return Ok(());
        }
        hold::set(tx, machine, reason).await?;
        let before = before.map(|hold| ("reason before", hold.reason));
        let action = NewAction {
            details: before.into_iter().collect(),
            ..author.action_on(Verb::HoldMachine, machine)
        };
        record(tx, &action).await
    })
    .await?;
    let plan = transact(session, async |tx| tx.touch_free(&[machine]).await);
    match plan.await {
        Ok(true) => {}
        Ok(false) => {
            tracing::debug!(%machine, "the transaction that is writing the held machine plans it");
        }
        Err(error) => {
            tracing::warn!(%machine, %error, "the machine is on hold, but lists may show it as due: run `bmdb replan`");
        }
    }
    Ok(())
}

pub(super) async fn release_hold(
    author: &Author,
    session: &Session,
    machine: MachineId,
) -> Result<bool, OperatorError> {
    transact(session, async |tx| {
        tx.touch(machine).await?;
        let Some(before) = hold::of(tx, machine).await? else {
            return Ok(false);
        };
        tx.release_hold(machine).await?;
        let action = NewAction {
            details: vec![
                ("held because", before.reason),
                ("held since", time::text(before.since)),
            ],
            ..author.action_on(Verb::ReleaseMachine, machine)
        };
        record(tx, &action).await?;
        Ok(true)
    })
    .await
}

pub(super) async fn hold_process(
    author: &Author,
    session: &Session,
    machine: MachineId,
    process: &Process,
) -> Result<(), OperatorError> {
    transact(session, async |tx| {
        tx.touch(machine).await?;
        let before = hold::of_process(tx, machine, process).await?;
        let reason = author.reason.as_deref().unwrap_or_default();
        if before
            .as_ref()
            .is_some_and(|before| before.reason == reason)
        {
            return Ok(());
        }
        tx.hold_process(machine, process, reason).await?;
        let before = before.map(|hold| ("reason before", hold.reason));
        let action = NewAction {
            process: Some(process),
            details: before.into_iter().collect(),
            ..author.action_on(Verb::HoldProcess, machine)
        };
        record(tx, &action).await
    })
    .await
}

pub(super) async fn release_process_hold(
    author: &Author,
    session: &Session,
    machine: MachineId,
    process: &Process,
) -> Result<bool, OperatorError> {
    transact(session, async |tx| {
        tx.touch(machine).await?;
        let Some(before) = hold::of_process(tx, machine, process).await? else {
            return Ok(false);
        };
        tx.release_process_hold(machine, process).await?;
        let action = NewAction {
            process: Some(process),
            details: vec![
                ("held because", before.reason),
                ("held since", time::text(before.since)),
            ],
            ..author.action_on(Verb::ReleaseProcess, machine)
        };
        record(tx, &action).await?;
        Ok(true)
    })
    .await
}

pub(super) async fn delete(
    author: &Author,
    session: &Session,
    machine: MachineId,
) -> Result<(), OperatorError> {
    transact(session, async |tx| {
        tx.touch(machine).await?;
        let was = provided::of(tx, machine).await?;
        tx.delete_machine(machine).await?;
        let action = NewAction {
            details: was.as_ref().map(identity).unwrap_or_default(),
            ..author.action_on(Verb::DeleteMachine, machine)
        };
        record(tx, &action).await
    })
    .await
}

fn identity(provided: &Provided) -> Vec<(&'static str, String)> {
    vec![
        ("provider", provided.provider.to_string()),
        ("provider_id", provided.provider_id.clone()),
    ]
}
