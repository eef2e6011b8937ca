//! A machine as a control loop gets it: its work, and where it is.

use crate::db::pool::Checkout;
use crate::error::TxError;
use crate::session::Session;
use crate::work::Work;
use bmdb_backoff::Seconds;
use bmdb_model::provided::{self, ProvidedMachine};
use bmdb_model::{MachineId, Provided};
use std::collections::HashMap;
use tokio_util::sync::CancellationToken;

/// A machine that is to be worked on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Machine {
    /// Its id.
    pub id: MachineId,
    /// Where it comes from and is reached, as it was right after the claim; none if nobody provides it
    /// any more.
    pub provided: Option<Provided>,
    /// Which attempt in a row this is without a success, from 1.
    pub attempt: i64,
    /// The interval of the backoff this attempt comes out of; none if the last one did not fail.
    pub previous_interval: Option<Seconds>,
    stop: CancellationToken,
}

impl Machine {
    /// A machine outside of any loop, for tests of what is done to it.
    #[must_use]
    pub fn new(id: MachineId, provided: Option<Provided>) -> Self {
        Self {
            id,
            provided,
            attempt: 1,
            previous_interval: None,
            stop: CancellationToken::new(),
        }
    }

    /// Canceled when acting on the machine has to stop: the lease is lost, the time is up, or the loop
    /// has to leave. What is left is [`LoopOptions::grace`](super::LoopOptions::grace).
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// What works are about, in their order: one statement for all of them.
    pub(super) async fn read_all(session: &Session, works: &[Work]) -> Result<Vec<Self>, TxError> {
        let ids: Vec<MachineId> = works.iter().map(Work::machine).collect();
        let mut provided: HashMap<MachineId, Provided> = read(session, &ids)
            .await?
            .into_iter()
            .map(|row| (row.machine_id, row.provided))
            .collect();
        let machine = |work: &Work| Self {
            attempt: work.failures().saturating_add(1),
            previous_interval: work.previous_interval(),
            ..Self::new(work.machine(), provided.remove(&work.machine()))
        };
        Ok(works.iter().map(machine).collect())
    }
}

async fn read(session: &Session, ids: &[MachineId]) -> Result<Vec<ProvidedMachine>, TxError> {
    let database = &session.inner.component.database;
    let mut retry = session.inner.retry(None);
    let read = async |retry: &_| {
        let read = async |conn: &mut Checkout| Ok(provided::of_all(conn, ids).await?);
        database.run_for(retry, read).await
    };
    retry.read(read).await
}
