//! `Session::work`: from an arbitrary retrieval to work on the first claimable machine it returns.

use crate::db::retry::Retry;
use crate::db::transaction::{Tx, TxFn};
use crate::error::{TxError, WorkError};
use crate::session::Session;
use crate::telemetry;
use crate::work::Work;
use bmdb_model::internal::machine;
use bmdb_model::internal::work::{self, Claimed, Gate};
use bmdb_model::{ErrorKind, MachineId, Process};
use std::sync::{Mutex, PoisonError};
use tracing::Instrument;

/// What one try found.
enum Found {
    Claimed(Claimed),
    /// No candidate can be claimed; the first one's gate.
    Shut(MachineId, Gate),
    Nothing,
    /// A rival was faster on a candidate: look again.
    Raced(MachineId),
}

impl Session {
    /// Runs `retrieve` and starts work on the first machine of its answer that can be claimed: not
    /// on hold, no process of the same lane is at work there, and no backoff of this process is in
    /// force there.
    ///
    /// The retrieval runs **at least twice**, in a READ COMMITTED transaction: what it read first is
    /// stale by the time the machine is locked, so only a machine that it returns again, under the
    /// lock, is claimed. For processes with a workflow, [`Session::claim`] does the same for many
    /// machines at once, usually in one statement.
    ///
    /// Cancellation: what a dropped future may have claimed is given back in the background.
    ///
    /// # Errors
    /// [`WorkError::NothingToDo`] when the retrieval returns nothing. When no candidate can be
    /// claimed, the first one's reason: [`WorkError::Conflict`], [`WorkError::BackedOff`] or
    /// [`WorkError::OnHold`]. Otherwise [`WorkError::SessionExpired`], also where the database has fallen
    /// silent, as soon as the session is lost; [`WorkError::Suspect`]; database errors.
    pub async fn work<F>(&self, process: &Process, retrieve: F) -> Result<Work, WorkError>
    where
        F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<Vec<MachineId>, TxError>, Fut: Send>
            + Send
            + Sync,
    {
        self.inner.refuse_new_work()?;
        let span = telemetry::claim(self.id(), process, 1);
        let starting = self.start(process, &retrieve).instrument(span);
        let has_failed = |started: &Result<_, WorkError>| {
            use WorkError::{BackedOff, Conflict, NothingToDo, OnHold};
            let is_reason = |error| {
                matches!(
                    error,
                    &NothingToDo | &Conflict { .. } | &BackedOff { .. } | &OnHold { .. }
                )
            };
            !started.as_ref().err().is_none_or(is_reason)
        };
        let meters = &self.inner.component.meters;
        meters.transaction(starting, has_failed).await
    }

    async fn start<F>(&self, process: &Process, retrieve: &F) -> Result<Work, WorkError>
    where
        F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<Vec<MachineId>, TxError>, Fut: Send>
            + Send
            + Sync,
    {
        let session = &self.inner;
        let id = session.lease().session;
        let mut retry = session.retry(None);
        let tried = &Mutex::new(None);
        loop {
            session.refuse_new_work()?;
            let look = &async |tx: &mut Tx<'_>| look(tx, process, id, retrieve, tried).await;
            match self.try_work(look, &mut retry).await {
                Ok(Some(Found::Claimed(claimed))) => {
                    return Ok(session.if_trusted(session.hold(process, claimed))?);
                }
                Ok(Some(Found::Nothing)) => return Err(WorkError::NothingToDo),
                Ok(Some(Found::Shut(machine, gate))) => return Err(reason(machine, gate)),
                Ok(Some(Found::Raced(machine))) => {
                    if !retry.pause().await {
                        return Err(WorkError::Conflict { machine });
                    }
                }
                Ok(None) => return Err(session.expired().into()),
                Err(error) => match (error.kind(), last(tried)) {
                    // A lane mate was faster, again and again.
                    (Some(ErrorKind::LaneTaken), Some(machine)) if !retry.pause().await => {
                        return Err(WorkError::Conflict { machine });
                    }
                    (Some(ErrorKind::LaneTaken), _) => {}
                    _ => retry.after(error).await?,
                },
            }
        }
    }

    /// One transaction, with everything that was claimed in it known afterwards or looked for; `None`
    /// when the session has expired.
    async fn try_work<F>(&self, body: &F, retry: &mut Retry) -> Result<Option<Found>, TxError>
    where
        F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<Found, TxError>, Fut: Send> + Sync,
    {
        let session = &self.inner;
        // Before the connection is taken: whoever waits here must not keep one from others.
        let _claiming = session.holdings.claiming.read().await;
        let conn = retry.checkout(&session.component.pool).await?;
        let keep = |found| {
            if let Found::Claimed(claimed) = &found {
                session.holdings.remember(claimed.fence);
            }
            found
        };
        session
            .claim_in_transaction(conn, retry.patience(), body, keep)
            .await
    }
}

fn last(tried: &Mutex<Option<MachineId>>) -> Option<MachineId> {
    *tried.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Retrieve, look at the gates, lock one machine, retrieve again, claim.
///
/// READ COMMITTED: each statement sees what was committed before it began, so what is read under the
/// machine's lock is current for everything that writers of tags do, who lock the machine too. A
/// rival claim through the queue does not, and is caught by the item's own gates and the lane index.
async fn look<F>(
    tx: &mut Tx<'_>,
    process: &Process,
    session: bmdb_model::SessionId,
    retrieve: &F,
    tried: &Mutex<Option<MachineId>>,
) -> Result<Found, TxError>
where
    F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<Vec<MachineId>, TxError>, Fut: Send> + Sync,
{
    let candidates = retrieve(tx).await?;
    let gates = work::gates(tx, process, &candidates).await?;
    let open: Vec<MachineId> = gates
        .iter()
        .filter(|(_, gate)| *gate == Gate::Open)
        .map(|(machine, _)| *machine)
        .collect();
    let Some(&first_open) = open.first() else {
        return Ok(match gates.first() {
            None => Found::Nothing,
            Some(&(machine, gate)) => Found::Shut(machine, gate),
        });
    };
    // Only one machine is locked, so no order among machines can be violated.
    let machine = match machine::lock_first_free(tx, &open).await? {
        Some(machine) => machine,
        None if machine::lock(tx, first_open).await? => first_open,
        None => return Ok(Found::Raced(first_open)),
    };
    let still_open = retrieve(tx).await?.contains(&machine)
        && work::gates(tx, process, &[machine]).await? == [(machine, Gate::Open)];
    if !still_open {
        return Ok(Found::Raced(machine));
    }
    *tried.lock().unwrap_or_else(PoisonError::into_inner) = Some(machine);
    Ok(
        match work::claim_machine(tx, machine, process, session).await? {
            Some(claimed) => Found::Claimed(claimed),
            None => Found::Raced(machine),
        },
    )
}

fn reason(machine: MachineId, gate: Gate) -> WorkError {
    match gate {
        Gate::BackedOff { until } => WorkError::BackedOff { machine, until },
        Gate::OnHold => WorkError::OnHold { machine },
        Gate::LaneTaken | Gate::Open => WorkError::Conflict { machine },
        Gate::Unknown => WorkError::Database(bmdb_model::Error::NoSuchMachine(machine)),
    }
}
