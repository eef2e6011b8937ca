//! A control loop: it starts the agent on a rack's machines, and records them as commissioned.

use crate::schema::commissioned;
use crate::{Error, rack};
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_core::{Session, WorkError};
use bmdb_model::{AgentStarted, MachineId, Process};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// The backoff of a machine that failed: 1, 2, 4, … minutes, at most an hour.
pub const RETRY: Backoff = Backoff::exponential(
    Seconds::new(60).unwrap(),
    Seconds::new(3600).unwrap(),
    Factor::from_int(2),
);

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// No machine of the rack is due: wait before the next step.
    Idle,
    /// The agent runs, and the machine is recorded as commissioned.
    Commissioned(MachineId),
    /// Starting the agent failed; the machine is due again after its backoff.
    Failed(MachineId),
}

/// Starts the agent on one machine of this rack that is due. `start` contacts the machine, and returns
/// the agent's public key, or why it failed.
pub async fn step(
    session: &Session,
    rack: &str,
    start: impl AsyncFn(MachineId) -> Result<Vec<u8>, String>,
) -> Result<Step, Error> {
    let process = Process::SHEPHERD_AGENT_START;
    // `Session::claim` selects machines by provider only. `Session::work` takes any query, and runs it
    // again if another session has locked the machine.
    let work = session.work(
        &process,
        async |tx| Ok(rack::due(tx, rack, &process).await?),
    );
    let work = match work.await {
        Ok(work) => work,
        // Others work on the machines that were due, or an operator has put them on hold.
        Err(
            WorkError::NothingToDo
            | WorkError::Conflict { .. }
            | WorkError::BackedOff { .. }
            | WorkError::OnHold { .. },
        ) => return Ok(Step::Idle),
        Err(error) => return Err(error.into()),
    };
    let (machine, fence) = (work.machine(), work.fence());
    let agent = match start(machine).await {
        Ok(key) => AgentStarted::now(key),
        Err(cause) => {
            work.fail(&RETRY, &cause).await?;
            return Ok(Step::Failed(machine));
        }
    };
    // The end of the work, bmdb's tag and our row are one transaction. A worker that has lost its lease
    // cannot commit it. `tx` is a Diesel connection.
    let finished = work.finish(async |tx| {
        tx.set_agent_started(machine, &agent).await?;
        diesel::insert_into(commissioned::table)
            .values((
                commissioned::machine_id.eq(machine),
                commissioned::fence.eq(fence),
            ))
            .execute(tx)
            .await?;
        Ok(())
    });
    finished.await?;
    Ok(Step::Commissioned(machine))
}
