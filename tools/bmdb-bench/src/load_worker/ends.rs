//! Ends of the load: how each worker ends what it has claimed.

use crate::Error;
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::{EndError, Session, Work};
use bmdb_model::{AgentStarted, MachineId, TagWrites};
use futures_util::future::join_all;

/// The shortest backoff.
pub(crate) const BACKOFF: Backoff = Backoff::fixed(Seconds::MIN);

pub(crate) const CAUSE: &str = "no answer";

/// How attempts end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum End {
    /// Failed.
    Fail,
    /// Finished, with the typed write that the agent was started.
    Tags,
    /// Finished, with a closure that writes the same.
    Closure,
    /// Failed the first time, and then finished with the typed write.
    Retry,
}

/// What is written when the agent of a machine was started. Each machine has a key of its own, as in a real
/// fleet: the same key for all would be one entry of an index.
pub(crate) fn started(machine: MachineId) -> AgentStarted {
    AgentStarted::now(machine.as_uuid().as_bytes().repeat(2))
}

/// Ends one machine, or a batch.
pub(crate) async fn end(session: &Session, end: End, claimed: Vec<Work>) -> Result<(), Error> {
    let (first, others): (Vec<Work>, Vec<Work>) = match end {
        End::Retry => claimed.into_iter().partition(|work| work.failures() == 0),
        End::Fail => (claimed, Vec::new()),
        End::Tags | End::Closure => (Vec::new(), claimed),
    };
    fail(session, first).await?;
    match end {
        End::Closure => all(join_all(others.into_iter().map(finish_by_closure)).await),
        End::Fail | End::Tags | End::Retry => finish(session, others).await,
    }
}

async fn finish(session: &Session, mut claimed: Vec<Work>) -> Result<(), Error> {
    let writes = |work: &Work| TagWrites::new().agent_started(started(work.machine()));
    if claimed.len() <= 1 {
        return match claimed.pop() {
            Some(work) => {
                let writes = writes(&work);
                Ok(work.complete_with(writes).await?)
            }
            None => Ok(()),
        };
    }
    let finished = claimed.into_iter().map(|work| {
        let writes = writes(&work);
        (work, writes)
    });
    all(session.finish_all(finished).await)
}

async fn fail(session: &Session, mut claimed: Vec<Work>) -> Result<(), Error> {
    if claimed.len() <= 1 {
        return match claimed.pop() {
            Some(work) => Ok(work.fail(&BACKOFF, CAUSE).await.map(drop)?),
            None => Ok(()),
        };
    }
    let failures = claimed.into_iter().map(|work| (work, &BACKOFF, CAUSE));
    all(session.fail_all(failures).await)
}

async fn finish_by_closure(work: Work) -> Result<(), EndError> {
    let (machine, started) = (work.machine(), started(work.machine()));
    work.finish(async |tx| tx.set_agent_started(machine, &started).await)
        .await
}

fn all<T>(ended: Vec<Result<T, EndError>>) -> Result<(), Error> {
    for ended in ended {
        ended?;
    }
    Ok(())
}
