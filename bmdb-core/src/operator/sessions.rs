//! Operator actions on sessions and their work.

use super::audit::{Author, record, transact};
use super::error::OperatorError;
use crate::db::transaction::TxOptions;
use crate::error::TxError;
use crate::maintenance::reclaim;
use crate::session::Session;
use crate::session::attempt_end::EndOutcome;
use bmdb_model::history::Outcome;
use bmdb_model::internal;
use bmdb_model::internal::notify;
use bmdb_model::internal::operator::NewAction;
use bmdb_model::internal::work::{self, Attempt, Ended};
use bmdb_model::operator::Verb;
use bmdb_model::reclaim::LostAttempt;
use bmdb_model::{Fence, MachineId, Process, SessionId, session};

/// The result of ending a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedSession {
    /// The work that was freed at once: each attempt is recorded as expired, and its machine rests as after
    /// any loss. A janitor may have freed other work of the session before.
    pub freed: Vec<LostAttempt>,
    /// Why the rest was not freed at once; janitors free it later.
    pub failure: Option<String>,
}

/// A session's own transactions lock its row until they end.
const STILL_THERE: &str = "a transaction of the session is still under way; a janitor frees the session's \
                           work as soon as that has ended";

/// Why a session that was ended is still there; `None` if it is not.
async fn still_there(session: &Session, id: SessionId) -> Option<String> {
    let found = session.transact_with(TxOptions::read_only(), async |tx| {
        Ok(session::find(tx, id).await?.is_some())
    });
    match found.await {
        Ok(false) => None,
        Ok(true) => Some(STILL_THERE.to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

pub(super) async fn end(
    author: &Author,
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
        let action = NewAction {
            session: Some(id),
            details: vec![
                ("component", found.row.component_name),
                ("runtime_info", found.row.runtime_info),
            ],
            ..author.action(Verb::EndSession)
        };
        record(tx, &action).await
    })
    .await?;
    let component = &session.inner.component;
    // The session has expired like any other; if this fails, a janitor frees its work.
    let freed = reclaim::reclaim(&component.database, &component.attempt_counts).await;
    let of_session = |lost: &LostAttempt| lost.session == id;
    Ok(match freed {
        Ok(reclaimed) => EndedSession {
            failure: match reclaimed.sessions.contains(&id) {
                true => None,
                // Either another janitor was faster, or the session is still there.
                false => still_there(session, id).await,
            },
            freed: reclaimed.attempts.into_iter().filter(of_session).collect(),
        },
        Err(error) => EndedSession {
            freed: Vec::new(),
            failure: Some(error.to_string()),
        },
    })
}

pub(super) async fn release_work(
    author: &Author,
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
        // Keyed on the fence, so it cancels this claim or none.
        if work::cancel_for(tx, &attempt).await? != Ended::Done(()) {
            return Err(not_held());
        }
        let notify = tx.notify();
        notify::if_due(tx, notify, machine, process).await?;
        let action = NewAction {
            process: Some(process),
            session: Some(attempt.session),
            fence: Some(attempt.fence),
            ..author.action_on(Verb::ReleaseWork, machine)
        };
        record(tx, &action).await?;
        Ok(attempt)
    })
    .await?;
    let attempt_counts = &session.inner.component.attempt_counts;
    EndOutcome::ended(attempt_counts, process, Outcome::Canceled, None);
    Ok(released)
}
