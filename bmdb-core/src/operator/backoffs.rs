//! Operator actions on backoffs.

use super::audit::{Author, record, transact};
use super::error::OperatorError;
use crate::db::tx::Tx;
use crate::error::TxError;
use crate::session::Session;
use bmdb_model::backoff::LockedBackoff;
use bmdb_model::internal;
use bmdb_model::internal::notify;
use bmdb_model::internal::operator::NewAction;
use bmdb_model::operator::Verb;
use bmdb_model::{MachineId, Process, time};

pub(super) async fn clear(
    author: &Author,
    session: &Session,
    machine: MachineId,
    process: &Process,
) -> Result<LockedBackoff, OperatorError> {
    transact(session, async |tx| {
        let was = lock(tx, machine, process).await?;
        internal::backoff::clear(tx, machine, process).await?;
        changed(author, tx, Verb::ClearBackoff, machine, process, &was).await?;
        Ok(was)
    })
    .await
}

pub(super) async fn retry_now(
    author: &Author,
    session: &Session,
    machine: MachineId,
    process: &Process,
) -> Result<LockedBackoff, OperatorError> {
    transact(session, async |tx| {
        let was = lock(tx, machine, process).await?;
        if !internal::backoff::end_now(tx, machine, process).await? {
            let process = process.clone();
            return Err(OperatorError::BackoffPassed { machine, process }.into());
        }
        changed(author, tx, Verb::RetryNow, machine, process, &was).await?;
        Ok(was)
    })
    .await
}

async fn changed(
    author: &Author,
    tx: &mut Tx<'_>,
    verb: Verb,
    machine: MachineId,
    process: &Process,
    was: &LockedBackoff,
) -> Result<(), TxError> {
    let notify = tx.notify();
    notify::if_due(tx, notify, machine, process).await?;
    let mut details = vec![
        ("failures", was.failures.to_string()),
        ("losses", was.losses.to_string()),
    ];
    details.extend(was.until.map(|until| ("until", time::text(until))));
    details.extend(was.cause.clone().map(|cause| ("cause", cause)));
    let action = NewAction {
        process: Some(process),
        details,
        ..author.action_on(verb, machine)
    };
    record(tx, &action).await
}

/// Locks an item that has a backoff and is not claimed.
async fn lock(
    tx: &mut Tx<'_>,
    machine: MachineId,
    process: &Process,
) -> Result<LockedBackoff, TxError> {
    let no_backoff = || OperatorError::NoBackoff {
        machine,
        process: process.clone(),
    };
    let Some(was) = internal::backoff::lock(tx, machine, process).await? else {
        return Err(no_backoff().into());
    };
    if let Some(session) = was.session {
        return Err(OperatorError::AtWork {
            machine,
            process: process.clone(),
            session,
            fence: was.fence,
        }
        .into());
    }
    match was.until {
        Some(_) => Ok(was),
        None => Err(no_backoff().into()),
    }
}
