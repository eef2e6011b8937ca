//! Audit records: who acts, why, and the transaction that records it with the change.

use super::error::OperatorError;
use crate::db::items_lock::Tries;
use crate::db::transaction::TxOptions;
use crate::db::tx::Tx;
use crate::db::tx_fn::TxBody;
use crate::error::TxError;
use crate::session::Session;
use bmdb_model::internal;
use bmdb_model::internal::items_lock;
use bmdb_model::internal::operator::NewAction;
use bmdb_model::operator::Verb;
use bmdb_model::{ErrorKind, MachineId, Process};

/// The author of operator actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Author {
    pub(super) name: String,
    pub(super) reason: Option<String>,
}

impl Author {
    pub(super) fn action(&self, verb: Verb) -> NewAction<'_> {
        NewAction::new(verb, &self.name, self.reason.as_deref())
    }

    pub(super) fn action_on(&self, verb: Verb, machine: MachineId) -> NewAction<'_> {
        NewAction {
            machine: Some(machine),
            ..self.action(verb)
        }
    }
}

/// Runs an action with its audit record. READ COMMITTED, so that rows are read as they are after waiting for
/// their locks. Locks are taken in the order session, machine, item, and decisions are read behind them.
pub(super) async fn transact<T: Send, F: TxBody<T>>(
    session: &Session,
    body: F,
) -> Result<T, OperatorError> {
    let done = session.transact_with(TxOptions::read_committed(), body);
    Ok(done.await?)
}

/// Like [`transact`], while no claim and no end is under way.
pub(super) async fn transact_behind_lock<T: Send, F: TxBody<T>>(
    session: &Session,
    process: &Process,
    body: F,
) -> Result<T, OperatorError> {
    let mut tries = Tries::new();
    loop {
        let locked = async |tx: &mut Tx<'_>| {
            items_lock::lock(tx).await?;
            body(tx).await
        };
        let error = match transact(session, locked).await {
            Err(OperatorError::Transaction(error))
                if error.kind() == Some(ErrorKind::LockTimeout) =>
            {
                error
            }
            done => return done,
        };
        if let Err(waited) = tries.pause(process, &error).await {
            return Err(OperatorError::Blocked {
                process: process.clone(),
                waited,
            });
        }
    }
}

pub(super) async fn record(tx: &mut Tx<'_>, action: &NewAction<'_>) -> Result<(), TxError> {
    internal::operator::record(tx, action).await?;
    Ok(())
}
