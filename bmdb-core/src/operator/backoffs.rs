//! Backoffs by hand: clearing one, and cutting one short.

use super::{Operator, OperatorError, record, transact};
use crate::db::transaction::Tx;
use crate::error::TxError;
use crate::session::Session;
use bmdb_model::backoff::LockedBackoff;
use bmdb_model::internal::operator::NewAction;
use bmdb_model::internal::{backoff, notify};
use bmdb_model::operator::Verb;
use bmdb_model::{MachineId, Process};

impl Operator {
    /// Deletes a backoff with its counts of failures and losses, as a finish does: the process may be
    /// tried at once, and its next failure begins the sequence anew. What it was.
    ///
    /// Cancellation: it is cleared with its trace, or neither.
    ///
    /// # Errors
    /// [`OperatorError::NoBackoff`], [`OperatorError::AtWork`], [`OperatorError::Transaction`].
    pub async fn clear_backoff(
        &self,
        session: &Session,
        machine: MachineId,
        process: &Process,
    ) -> Result<LockedBackoff, OperatorError> {
        transact(session, async |tx| {
            let was = lock(tx, machine, process).await?;
            backoff::clear(tx, machine, process).await?;
            self.changed(tx, Verb::ClearBackoff, machine, process, &was)
                .await?;
            Ok(was)
        })
        .await
    }

    /// Ends a backoff that is in force now: the process may be tried at once, and its next failure goes
    /// on with the sequence. What it was.
    ///
    /// Cancellation: it is ended with its trace, or neither.
    ///
    /// # Errors
    /// [`OperatorError::NoBackoff`], [`OperatorError::BackoffPassed`], [`OperatorError::AtWork`],
    /// [`OperatorError::Transaction`].
    pub async fn retry_now(
        &self,
        session: &Session,
        machine: MachineId,
        process: &Process,
    ) -> Result<LockedBackoff, OperatorError> {
        transact(session, async |tx| {
            let was = lock(tx, machine, process).await?;
            if !backoff::end_now(tx, machine, process).await? {
                let process = process.clone();
                return Err(OperatorError::BackoffPassed { machine, process }.into());
            }
            self.changed(tx, Verb::RetryNow, machine, process, &was)
                .await?;
            Ok(was)
        })
        .await
    }

    async fn changed(
        &self,
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
        details.extend(was.until.map(|until| ("until", until.to_rfc3339())));
        details.extend(was.cause.clone().map(|cause| ("cause", cause)));
        let act = NewAction {
            process: Some(process),
            details,
            ..self.act_on(verb, machine)
        };
        record(tx, &act).await
    }
}

/// Locks an item that nobody holds and that has a backoff.
async fn lock(
    tx: &mut Tx<'_>,
    machine: MachineId,
    process: &Process,
) -> Result<LockedBackoff, TxError> {
    let no_backoff = || OperatorError::NoBackoff {
        machine,
        process: process.clone(),
    };
    let Some(was) = backoff::lock(tx, machine, process).await? else {
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
