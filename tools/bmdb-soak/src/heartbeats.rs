//! The heartbeats of all agents that are not silent, as a gateway writes them, and the run's log of them.

use crate::failure::Done;
use bmdb_core::{Session, TxError};
use bmdb_model::MachineId;
use tokio_postgres::Client;

/// Agents that send a heartbeat now, and the time. Each agent is silent for a third of the time, long
/// enough for its machine to become due for recovery.
const AGENTS: &str = "
    SELECT machine_id::text, clock_timestamp()::text FROM machine_agent_started
    WHERE (abs(hashtext(machine_id::text))
           + (extract(epoch FROM clock_timestamp()) * 1000)::bigint / 1500) % 3 <> 0";

/// Writes them once, and logs those that were acknowledged through `side`.
pub(crate) async fn send(side: &Client, session: &Session) -> Done<Result<(), TxError>> {
    let agents = side.query(AGENTS, &[]).await?;
    if agents.is_empty() {
        return Ok(Ok(()));
    }
    let mut heartbeats: Vec<(MachineId, _)> = Vec::new();
    for agent in &agents {
        heartbeats.push((agent.get::<_, &str>(0).parse()?, None));
    }
    if let Err(error) = session.heartbeat_agents(&heartbeats).await {
        return Ok(Err(error));
    }
    let rows: Vec<String> = agents
        .iter()
        .map(|agent| {
            let (machine, sent_at): (&str, &str) = (agent.get(0), agent.get(1));
            format!("('{machine}', '{sent_at}', clock_timestamp())")
        })
        .collect();
    let log = format!("INSERT INTO heartbeat_log VALUES {}", rows.join(", "));
    side.batch_execute(&log).await?;
    Ok(Ok(()))
}
