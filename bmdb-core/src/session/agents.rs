//! Heartbeats of many agents in one statement: the hot path of a fleet.

use crate::db::pool::Checkout;
use crate::db::transaction::TxOptions;
use crate::db::tx::Tx;
use crate::db::tx_tags::heartbeats_of;
use crate::error::TxError;
use crate::session::core::SessionCore;
use bmdb_model::internal;
use bmdb_model::{AgentHeartbeat, MachineId};
use std::collections::BTreeSet;

/// Records heartbeats; returns the machines that do not exist, in id order.
pub(crate) async fn heartbeat(
    session: &SessionCore,
    heartbeats: &[AgentHeartbeat],
) -> Result<Vec<MachineId>, TxError> {
    session.refuse_if_lost()?;
    let (id, database) = (session.lease().session, &session.component.database);
    let mut retry = session.retry(None);
    let advance = async |conn: &mut Checkout| {
        Ok(internal::agent::advance_heartbeats(conn, Some(id), heartbeats).await?)
    };
    let advanced = retry.run(async |retry| database.run_for(retry, advance).await);
    let Some(rest) = advanced.await? else {
        return Err(session.expired());
    };
    let rest = &heartbeats_of(heartbeats, &rest);
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let set = &async |tx: &mut Tx<'_>| set_existing(tx, rest).await;
    let start = TxOptions::read_committed().into();
    session.run(start, &mut retry, set).await?.committed()
}

/// Sets the heartbeats of machines that exist; returns the other machines.
async fn set_existing(
    tx: &mut Tx<'_>,
    heartbeats: &[AgentHeartbeat],
) -> Result<Vec<MachineId>, TxError> {
    let mut machines: BTreeSet<MachineId> =
        heartbeats.iter().map(|(machine, _)| *machine).collect();
    let asked: Vec<MachineId> = machines.iter().copied().collect();
    let mut existing = internal::machine::touch_existing(tx, &asked).await?;
    existing.sort_unstable();
    internal::agent::set_heartbeats(tx, &heartbeats_of(heartbeats, &existing)).await?;
    for machine in &existing {
        machines.remove(machine);
    }
    tx.plan_created(existing);
    Ok(machines.into_iter().collect())
}
