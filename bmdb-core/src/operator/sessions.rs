//! Sessions and their work by hand: ending a session, and taking work from its holder.

use super::{Operator, OperatorError, record, transact};
use crate::db::transaction::TxOptions;
use crate::error::TxError;
use crate::maintenance::reclaim;
use crate::session::Session;
use crate::work::attempt_end::EndOutcome;
use bmdb_model::history::Outcome;
use bmdb_model::internal::operator::NewAction;
use bmdb_model::internal::work::{self, Attempt, Ended};
use bmdb_model::internal::{self, notify};
use bmdb_model::operator::Verb;
use bmdb_model::reclaim::LostAttempt;
use bmdb_model::{Fence, MachineId, Process, SessionId, session};

/// What came of the end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedSession {
    /// What of its work was freed at once: each attempt is recorded as expired, and its machine rests as
    /// after any loss. A janitor may have been quicker with some of it.
    pub freed: Vec<LostAttempt>,
    /// What kept the rest from being freed at once; janitors go on with it.
    pub failure: Option<String>,
}

/// Its own transactions lock it until they end.
const LEFT: &str = "a transaction of the session is still under way; a janitor frees what it holds as soon \
                    as that has ended";

/// Why a session that was ended is still there, if it is.
async fn left(session: &Session, id: SessionId) -> Option<String> {
    let found = session.transact_with(TxOptions::read_only(), async |tx| {
        Ok(session::find(tx, id).await?.is_some())
    });
    match found.await {
        Ok(false) => None,
        Ok(true) => Some(LEFT.to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

impl Operator {
    /// Ends another component's session: its lease ends now, and what it holds is freed as after any
    /// loss, each machine with a delay in which commands on their way to it die out.
    ///
    /// From the commit on, none of its claims, ends and transactions begins any more; those under way go
    /// on, and are waited for before anything is freed. Its program learns of it at its next heartbeat, at the latest a third of its
    /// interval later.
    ///
    /// Cancellation: the session is ended with its trace, or neither; janitors free what is left.
    ///
    /// # Errors
    /// [`OperatorError::NoSuchSession`], [`OperatorError::SessionEnded`], [`OperatorError::Transaction`].
    pub async fn end_session(
        &self,
        session: &Session,
        id: SessionId,
    ) -> Result<EndedSession, OperatorError> {
        transact(session, async |tx| {
            let Some(found) = session::find(tx, id).await? else {
                return Err(OperatorError::NoSuchSession(id).into());
            };
            if !internal::session::end(tx, id).await? {
                return Err(OperatorError::SessionEnded(id).into());
            }
            let act = NewAction {
                session: Some(id),
                details: vec![
                    ("component", found.row.component_name),
                    ("runtime_info", found.row.runtime_info),
                ],
                ..self.act(Verb::EndSession)
            };
            record(tx, &act).await
        })
        .await?;
        let component = &session.inner.component;
        // It has expired like any other; what fails here is the next janitor's.
        let freed = reclaim::free(&component.pool, &component.tally).await;
        let of_session = |lost: &LostAttempt| lost.session == id;
        Ok(match freed {
            Ok(losses) => EndedSession {
                failure: match losses.sessions.contains(&id) {
                    true => None,
                    // Or another janitor was faster.
                    false => left(session, id).await,
                },
                freed: losses.attempts.into_iter().filter(of_session).collect(),
            },
            Err(error) => EndedSession {
                freed: Vec::new(),
                failure: Some(error.to_string()),
            },
        })
    }

    /// Takes work from its holder, if it is still the claim with this fence: the attempt ends without a
    /// verdict, as if it had been given back, and the machine can be claimed at once.
    ///
    /// The holder's session lives on. It learns of it when it ends the work, which fails as lost, and may
    /// act on the machine until then: put the machine on hold first, or end the session, unless you know
    /// that it does not.
    ///
    /// Cancellation: the work is released with its trace, or neither.
    ///
    /// # Errors
    /// [`OperatorError::NotHeld`], also when its end was faster; [`OperatorError::OtherFence`];
    /// [`OperatorError::Transaction`].
    pub async fn release_work(
        &self,
        session: &Session,
        machine: MachineId,
        process: &Process,
        if_fence: Fence,
    ) -> Result<Attempt, OperatorError> {
        let not_held = || -> TxError {
            let process = process.clone();
            OperatorError::NotHeld { machine, process }.into()
        };
        let released = transact(session, async |tx| {
            let Some(attempt) = work::current_attempt(tx, machine, process).await? else {
                return Err(not_held());
            };
            if attempt.fence != if_fence {
                return Err(OperatorError::OtherFence {
                    machine,
                    process: process.clone(),
                    asked: if_fence,
                    held: attempt.fence,
                }
                .into());
            }
            // Keyed on the fence, so whatever has come in between, it is this claim or none.
            if work::cancel_for(tx, &attempt).await? != Ended::Done(()) {
                return Err(not_held());
            }
            let notify = tx.notify();
            notify::if_due(tx, notify, machine, process).await?;
            let act = NewAction {
                process: Some(process),
                session: Some(attempt.session),
                fence: Some(attempt.fence),
                ..self.act_on(Verb::ReleaseWork, machine)
            };
            record(tx, &act).await?;
            Ok(attempt)
        })
        .await?;
        let tally = &session.inner.component.tally;
        EndOutcome::ended(tally, process, Outcome::Canceled, None);
        Ok(released)
    }
}
