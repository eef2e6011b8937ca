//! What others do meanwhile: writers of tags, and agents that are heard from, or not.

use super::dice::Dice;
use super::legal::{Next, tolerate};
use super::part::Stage;
use super::worker::{close, start_session};
use bmdb_core::{Session, Tx, TxError, TxOptions};
use bmdb_model::MachineId;
use bmdb_model::os_installation::InstallationResult;
use bmdb_model::schema::machine_os_installation_request as request;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Agents that are heard from now, and when that was asked. Each agent is silent for a third of the
/// time, for longer than makes its machine due for recovery.
const AGENTS: &str = "
    SELECT machine_id, clock_timestamp() FROM machine_agent_started
    WHERE (abs(hashtext(machine_id::text))
           + (extract(epoch FROM clock_timestamp()) * 1000)::bigint / 1500) % 3 <> 0";

/// Writes tags in one session after the other until the time is up.
pub(super) async fn write_tags(stage: Arc<Stage>, mut dice: Dice) {
    while !stage.is_over() {
        let Some(session) = start_session(&stage, &mut dice).await else {
            continue;
        };
        let mut next = Next::GoOn;
        while next == Next::GoOn && !stage.is_over() {
            next = match write_one(&stage, &mut dice, &session).await {
                Ok(()) => Next::GoOn,
                Err(error) => tolerate("writing a tag", &error),
            };
            tokio::time::sleep(Duration::from_millis(1) * dice.roll(10)).await;
        }
        close(session, &mut dice).await;
    }
}

async fn write_one(stage: &Stage, dice: &mut Dice, session: &Session) -> Result<(), TxError> {
    let options = [TxOptions::default(), TxOptions::read_committed()];
    let options = *dice.pick(&options);
    let machine = *dice.pick(&stage.machines);
    let what = dice.roll(10);
    let runs = &AtomicU32::new(0);
    let written = session
        .transact_with(options, async |tx| {
            runs.fetch_add(1, Ordering::Relaxed);
            write(tx, machine, what).await
        })
        .await;
    for _ in 1..runs.load(Ordering::Relaxed) {
        stage.journal.saw("closures run again");
    }
    written?;
    if what == HOLD {
        // Or, where a fault comes between, whoever next releases just any machine.
        let release = async |tx: &mut Tx<'_>| tx.release_hold(machine).await;
        session.transact_with(options, release).await?;
    }
    Ok(())
}

const HOLD: u32 = 0;

async fn write(tx: &mut Tx<'_>, machine: MachineId, what: u32) -> Result<(), TxError> {
    match what {
        HOLD => tx.hold(machine, "stress").await,
        1 => tx.release_hold(machine).await.map(drop),
        2 => tx.set_hardware_report(machine, b"report").await,
        3..=4 => {
            let generation = generation(tx, machine).await?;
            let request = generation.unwrap_or(0) + 1;
            tx.set_os_installation_request(machine, request, b"").await
        }
        5 => match generation(tx, machine).await? {
            Some(generation) => {
                let success = InstallationResult::Success;
                tx.set_os_installation_report(machine, generation, success, b"")
                    .await
            }
            None => Ok(()),
        },
        _ => tx.unset_agent(machine).await,
    }
}

async fn generation(tx: &mut Tx<'_>, machine: MachineId) -> Result<Option<i64>, TxError> {
    let generation = request::table.find(machine).select(request::generation);
    Ok(generation.first(tx).await.optional()?)
}

/// Sends heartbeats of all agents that are not silent, and notes those that were acknowledged.
pub(super) async fn hear_from_agents(stage: Arc<Stage>) {
    // Its choices are those of the database's clock.
    let mut dice = Dice::new(0, 0);
    while !stage.is_over() {
        let Some(session) = start_session(&stage, &mut dice).await else {
            continue;
        };
        let mut next = Next::GoOn;
        while next == Next::GoOn && !stage.is_over() {
            next = beat(&stage, &session).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        close(session, &mut dice).await;
    }
}

async fn beat(stage: &Stage, session: &Session) -> Next {
    let agents = stage.side.rows(AGENTS).await;
    if agents.is_empty() {
        return Next::GoOn;
    }
    let machines: Vec<MachineId> = agents.iter().map(|a| a[0].parse().unwrap()).collect();
    let heartbeats: Vec<_> = machines.iter().map(|machine| (*machine, None)).collect();
    if let Err(error) = session.heartbeat_agents(&heartbeats).await {
        return tolerate("hearing from agents", &error);
    }
    let noted: Vec<String> = agents
        .iter()
        .map(|agent| format!("('{}', '{}', clock_timestamp())", agent[0], agent[1]))
        .collect();
    let note = format!("INSERT INTO heartbeat_log VALUES {}", noted.join(", "));
    stage.side.run(&note).await;
    Next::GoOn
}
