//! A control loop: it starts the agent on a rack's machines, and enters them into the books.

use crate::schema::commissioned;
use crate::{Error, rack};
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_core::{Session, WorkError};
use bmdb_model::{AgentStarted, MachineId, Process};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// How long a machine that failed is left alone: 1, 2, 4, … minutes, an hour at most.
pub const RETRY: Backoff = Backoff::exponential(
    Seconds::new(60).unwrap(),
    Seconds::new(3600).unwrap(),
    Factor::from_int(2),
);

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing of the rack is due: wait before the next step.
    Idle,
    /// The agent runs, and the machine is in the books.
    Commissioned(MachineId),
    /// It is tried again after its backoff.
    Failed(MachineId),
}

/// Starts the agent on one machine of this rack that is due. `start` talks to the machine, and
/// returns the agent's key or why there is none.
pub async fn step(
    session: &Session,
    rack: &str,
    start: impl AsyncFn(MachineId) -> Result<Vec<u8>, String>,
) -> Result<Step, Error> {
    let process = Process::SHEPHERD_AGENT_START;
    // `Session::claim` knows of providers and of nothing else. This one takes any query of ours, and
    // asks it again when the machine is locked.
    let work = session.work(
        &process,
        async |tx| Ok(rack::due(tx, rack, &process).await?),
    );
    let work = match work.await {
        Ok(work) => work,
        // Others are at work on what was due, or an operator has put it on hold.
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
    // The end of the work, bmdb's tag and our row are one transaction, which a worker that has lost
    // its lease cannot commit. `tx` is a connection of Diesel's.
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
