//! `Session::work`: claims the first claimable machine that a retrieval returns.

use crate::db::retry::Retry;
use crate::db::tx::Tx;
use crate::db::tx_fn::TxBody;
use crate::error::{TxError, WorkError};
use crate::lock::lock;
use crate::telemetry;
use crate::work::Work;
use crate::work::inner::SessionInner;
use crate::work::pending_claim;
use bmdb_model::internal;
use bmdb_model::internal::work::{self, Claimed, Gate};
use bmdb_model::{ErrorKind, MachineId, Process, SessionId};
use std::sync::{Arc, Mutex};
use tracing::Instrument;

/// The result of one try.
enum Found {
    Claimed(Claimed),
    /// No candidate can be claimed; the first one and the closed gate.
    Shut(MachineId, Gate),
    Nothing,
    /// Another program was faster with this candidate: try again.
    Raced(MachineId),
}

/// See [`Session::work`](crate::Session::work).
pub(crate) async fn claim_one<F: TxBody<Vec<MachineId>>>(
    session: &Arc<SessionInner>,
    process: &Process,
    retrieve: &F,
) -> Result<Work, WorkError> {
    session.refuse_new_work()?;
    let span = telemetry::claim(session.lease().session, process, 1);
    let claiming = retry_claim(session, process, retrieve).instrument(span);
    let has_failed = |claimed: &Result<_, WorkError>| {
        use WorkError::{BackedOff, Conflict, Limited, NothingToDo, OnHold, Paused, ProcessOnHold};
        let is_reason = |error| {
            matches!(
                error,
                &NothingToDo
                    | &Conflict { .. }
                    | &BackedOff { .. }
                    | &OnHold { .. }
                    | &ProcessOnHold { .. }
                    | &Paused { .. }
                    | &Limited { .. }
            )
        };
        !claimed.as_ref().err().is_none_or(is_reason)
    };
    let meters = &session.component.meters;
    meters.transaction(claiming, has_failed).await
}

async fn retry_claim<F: TxBody<Vec<MachineId>>>(
    session: &Arc<SessionInner>,
    process: &Process,
    retrieve: &F,
) -> Result<Work, WorkError> {
    let id = session.lease().session;
    let mut retry = session.retry(None);
    let tried = &Mutex::new(None);
    loop {
        session.refuse_new_work()?;
        let body = &async |tx: &mut Tx<'_>| try_in(tx, process, id, retrieve, tried).await;
        match try_claim(session, body, &retry).await {
            Ok(Some(Found::Claimed(claimed))) => {
                return Ok(session.unless_lost(session.hold(process, claimed))?);
            }
            Ok(Some(Found::Nothing)) => return Err(WorkError::NothingToDo),
            Ok(Some(Found::Shut(machine, gate))) => return Err(reason(process, machine, gate)),
            Ok(Some(Found::Raced(machine))) => {
                if !retry.pause().await {
                    return Err(WorkError::Conflict { machine });
                }
            }
            Ok(None) => return Err(session.expired().into()),
            Err(error) => {
                let last_tried = *lock(tried);
                match (error.kind(), last_tried) {
                    // Another process of the lane was faster in every try.
                    (Some(ErrorKind::LaneTaken), Some(machine)) if !retry.pause().await => {
                        return Err(WorkError::Conflict { machine });
                    }
                    (Some(ErrorKind::LaneTaken), _) => {}
                    _ => retry.after(error).await?,
                }
            }
        }
    }
}

/// One transaction. Everything that was claimed in it is known afterwards, or searched for; `None` if the
/// session has expired.
async fn try_claim<F: TxBody<Found>>(
    session: &SessionInner,
    body: &F,
    retry: &Retry,
) -> Result<Option<Found>, TxError> {
    // Before the checkout: a claim that waits here must not occupy a connection.
    let _claiming = session.claimed_fences.claiming.read().await;
    let conn = session.component.database.checkout_for(retry).await?;
    let keep = |found| {
        if let Found::Claimed(claimed) = &found {
            session.claimed_fences.remember(claimed.fence);
        }
        found
    };
    pending_claim::transact(session, conn, retry.deadline(), body, keep).await
}

/// Retrieves, checks the gates, locks one machine, retrieves again, claims.
///
/// READ COMMITTED: each statement sees what was committed before it began. What is read under the machine's
/// lock is therefore current for everything that writers of tags do, because they lock the machine too. A
/// concurrent claim through the queue does not lock it; the item's own gates and the lane index catch that.
async fn try_in<F: TxBody<Vec<MachineId>>>(
    tx: &mut Tx<'_>,
    process: &Process,
    session: SessionId,
    retrieve: &F,
    tried: &Mutex<Option<MachineId>>,
) -> Result<Found, TxError> {
    let candidates = retrieve(tx).await?;
    // A claim outside of the transaction would be committed at once.
    tx.watch().refuse_if_ended()?;
    let gates = work::gates(tx, process, &candidates).await?;
    let open: Vec<MachineId> = gates
        .iter()
        .filter(|(_, gate)| *gate == Gate::Open)
        .map(|(machine, _)| *machine)
        .collect();
    let Some(&first_open) = open.first() else {
        return Ok(match gates.into_iter().next() {
            None => Found::Nothing,
            Some((machine, gate)) => Found::Shut(machine, gate),
        });
    };
    // Only one machine is locked, so this cannot violate the lock order.
    let machine = match internal::machine::lock_first_free(tx, &open).await? {
        Some(machine) => machine,
        None if internal::machine::lock(tx, first_open).await? => first_open,
        None => return Ok(Found::Raced(first_open)),
    };
    let is_listed = retrieve(tx).await?.contains(&machine);
    tx.watch().refuse_if_ended()?;
    let still_open =
        is_listed && work::gates(tx, process, &[machine]).await? == [(machine, Gate::Open)];
    if !still_open {
        return Ok(Found::Raced(machine));
    }
    *lock(tried) = Some(machine);
    Ok(
        match work::claim_machine(tx, machine, process, session).await? {
            Some(claimed) => Found::Claimed(claimed),
            None => Found::Raced(machine),
        },
    )
}

fn reason(process: &Process, machine: MachineId, gate: Gate) -> WorkError {
    let process = process.clone();
    match gate {
        Gate::ProcessOnHold { reason } => WorkError::ProcessOnHold {
            machine,
            process,
            reason,
        },
        Gate::Paused { by, reason, until } => WorkError::Paused {
            machine,
            process,
            by,
            reason,
            until,
        },
        Gate::Limited { opens_at } => WorkError::Limited {
            machine,
            process,
            opens_at,
        },
        Gate::BackedOff { until } => WorkError::BackedOff { machine, until },
        Gate::OnHold => WorkError::OnHold { machine },
        Gate::LaneTaken | Gate::Open => WorkError::Conflict { machine },
        Gate::Unknown => WorkError::Database(bmdb_model::Error::NoSuchMachine(machine)),
    }
}
