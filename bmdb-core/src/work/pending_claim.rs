//! Pending claim: its answer has not arrived. If it never does, the cleanup looks for claimed machines.

use crate::db::deadline::Deadline;
use crate::db::pool::Checkout;
use crate::db::transaction::{self, TxOptions, TxOutcome};
use crate::db::tx_fn::TxBody;
use crate::error::TxError;
use crate::session::cleanup::CleanupTask;
use crate::work::inner::SessionInner;
use bmdb_model::ErrorKind;
use bmdb_model::internal::connection::Backend;

/// A claim under way. Unless it is answered, its drop makes the cleanup search for unknown claims.
pub(super) struct PendingClaim<'s> {
    session: &'s SessionInner,
    backend: Backend,
    answered: bool,
}

impl<'s> PendingClaim<'s> {
    pub(super) fn new(session: &'s SessionInner, conn: &Checkout) -> Self {
        Self {
            session,
            backend: conn.info().backend,
            answered: false,
        }
    }

    /// Ends the claim with its result. An error is an answer too, unless it leaves open what is committed.
    pub(super) fn settle<T>(mut self, result: &Result<T, TxError>) {
        self.answered = match result {
            Ok(_) => true,
            // What was claimed before or after it may be committed.
            Err(TxError::ClosureEndedTransaction { .. }) => false,
            Err(error) => error.kind() != Some(ErrorKind::ConnectionLost),
        };
    }
}

impl Drop for PendingClaim<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let fences = self.session.claimed_fences.clone();
            let search = CleanupTask::FindUnknownClaims(fences, self.backend);
            self.session.component.cleanup.add(search);
        }
    }
}

/// Runs a transaction that claims, once; `None` if the session has expired. `keep` makes the claims known
/// to this program; claims that do not get there are searched for. The caller holds
/// `claimed_fences.claiming` shared.
pub(super) async fn transact<T: Send, U, F: TxBody<T>>(
    session: &SessionInner,
    mut conn: Checkout,
    deadline: &Deadline,
    body: &F,
    keep: impl FnOnce(T) -> U,
) -> Result<Option<U>, TxError> {
    let pending = PendingClaim::new(session, &conn);
    let (id, start) = (session.lease().session, TxOptions::read_committed().into());
    let database = &session.component.database;
    let ran = transaction::run_once(database, &mut conn, id, start, deadline, body);
    let result = match ran.await {
        Ok(TxOutcome::Committed(value)) => Ok(Some(keep(value))),
        Ok(TxOutcome::Expired) => Ok(None),
        Ok(TxOutcome::CommitUnknown(_, error)) => Err(TxError::CommitUnknown(error)),
        Err(error) => Err(error),
    };
    pending.settle(&result);
    conn.settle(result)
}
