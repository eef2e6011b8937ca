//! Audit records: who acts, why, and the transaction that records it with the change.

use super::error::OperatorError;
use crate::db::retry::Delays;
use crate::db::transaction::TxOptions;
use crate::db::tx::Tx;
use crate::db::tx_fn::TxBody;
use crate::error::TxError;
use crate::session::Session;
use bmdb_model::internal;
use bmdb_model::internal::operator::NewAction;
use bmdb_model::internal::process_control::lock_items;
use bmdb_model::operator::Verb;
use bmdb_model::process::LOCK_TIMEOUT;
use bmdb_model::{ErrorKind, MachineId, Process};
use std::time::Duration;
use tokio::time::Instant;

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

/// For how long a change tries to get the lock on work items.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// Like [`transact`], while no claim and no end is under way. All of them queue behind a lock that is waited
/// for. So each try waits briefly, and a pause follows that is at least as long, in which they go on.
pub(super) async fn transact_behind_lock<T: Send, F: TxBody<T>>(
    session: &Session,
    process: &Process,
    body: F,
) -> Result<T, OperatorError> {
    let began = Instant::now();
    let mut pauses = Delays::new(LOCK_TIMEOUT, LOCK_TIMEOUT.saturating_mul(4));
    loop {
        let locked = async |tx: &mut Tx<'_>| {
            lock_items(tx, LOCK_TIMEOUT).await?;
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
        let pause = LOCK_TIMEOUT + pauses.next();
        let waited = began.elapsed();
        if waited + pause > GIVE_UP_AFTER {
            return Err(OperatorError::Blocked {
                process: process.clone(),
                waited: Duration::from_secs(waited.as_secs()),
            });
        }
        tracing::info!(%process, %error, ?pause, "the change is blocked and will be retried");
        tokio::time::sleep(pause).await;
    }
}

pub(super) async fn record(tx: &mut Tx<'_>, action: &NewAction<'_>) -> Result<(), TxError> {
    internal::operator::record(tx, action).await?;
    Ok(())
}
