//! The hot path of a fleet: heartbeats of many agents in one statement.

use crate::db::retry::Retry;
use crate::db::transaction::{Ran, Tx, TxOptions};
use crate::error::TxError;
use crate::session::{Session, SessionInner};
use bmdb_model::internal::{agent, machine};
use bmdb_model::{AgentHeartbeat, MachineId};
use std::collections::BTreeSet;

impl Session {
    /// Says that the agents of many machines were heard from, now or at a known time; returns the
    /// machines that do not exist, in id order. Where a machine is named twice, the latest counts.
    ///
    /// One statement with the fence check inside, in one round trip: a thousand machines at once are
    /// a good number. First heartbeats, and those set back, are planned in a transaction that follows,
    /// because they make machines due for recovery earlier.
    ///
    /// Cancellation: what was written stays written; each heartbeat is written or not.
    ///
    /// # Errors
    /// [`TxError::SessionExpired`], [`TxError::CommitUnknown`], database errors. Heartbeats may have
    /// been written all the same: sending them again does no harm.
    pub async fn heartbeat_agents(
        &self,
        heartbeats: &[AgentHeartbeat],
    ) -> Result<Vec<MachineId>, TxError> {
        let session = &self.inner;
        session.refuse_if_lost()?;
        let mut retry = session.retry(None);
        let rest = loop {
            match session.advance_heartbeats(heartbeats, &mut retry).await {
                Ok(Some(rest)) => break only(heartbeats, &rest),
                Ok(None) => return Err(session.expired()),
                Err(error) => retry.after(error).await?,
            }
        };
        if rest.is_empty() {
            return Ok(Vec::new());
        }
        let rest = &rest;
        let set = &async |tx: &mut Tx<'_>| set_existing(tx, rest).await;
        match session
            .run(TxOptions::read_committed().into(), &mut retry, set)
            .await?
        {
            Ran::Committed(unknown) => Ok(unknown),
            Ran::CommitUnknown(_, error) => Err(TxError::CommitUnknown(error)),
            Ran::Expired => Err(TxError::SessionExpired),
        }
    }
}

impl SessionInner {
    async fn advance_heartbeats(
        &self,
        heartbeats: &[AgentHeartbeat],
        retry: &mut Retry,
    ) -> Result<Option<Vec<MachineId>>, TxError> {
        let mut conn = retry.checkout(&self.component.pool).await?;
        let id = Some(self.lease().session);
        let advanced = agent::advance_heartbeats(&mut conn, id, heartbeats);
        match retry.patience().answer(advanced).await {
            Ok(rest) => {
                conn.give_back();
                Ok(rest)
            }
            Err(error) => {
                let error = TxError::from(error);
                conn.give_back_after(&error);
                Err(error)
            }
        }
    }
}

/// The heartbeats of these machines, which are in id order.
pub(crate) fn only(heartbeats: &[AgentHeartbeat], machines: &[MachineId]) -> Vec<AgentHeartbeat> {
    heartbeats
        .iter()
        .filter(|(machine, _)| machines.binary_search(machine).is_ok())
        .copied()
        .collect()
}

/// Sets the heartbeats of machines that exist; returns those that do not.
async fn set_existing(
    tx: &mut Tx<'_>,
    heartbeats: &[AgentHeartbeat],
) -> Result<Vec<MachineId>, TxError> {
    let mut machines: BTreeSet<MachineId> =
        heartbeats.iter().map(|(machine, _)| *machine).collect();
    let asked: Vec<MachineId> = machines.iter().copied().collect();
    let mut existing = machine::touch_existing(tx, &asked).await?;
    existing.sort_unstable();
    agent::set_heartbeats(tx, &only(heartbeats, &existing)).await?;
    for machine in &existing {
        machines.remove(machine);
    }
    tx.made(existing);
    Ok(machines.into_iter().collect())
}
