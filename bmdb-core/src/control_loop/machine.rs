//! Machine: the data of a machine that a control loop has claimed.

use crate::db::pool::Checkout;
use crate::error::TxError;
use crate::session::Session;
use crate::work::Work;
use bmdb_backoff::Seconds;
use bmdb_model::provided::{self, ProvidedMachine};
use bmdb_model::{MachineId, Provided};
use std::collections::HashMap;
use tokio_util::sync::CancellationToken;

/// A machine to act on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Machine {
    /// The machine's id.
    pub id: MachineId,
    /// Where it comes from and how it is reached, read right after the claim; `None` if no provider has
    /// it any more.
    pub provided: Option<Provided>,
    /// The number of this attempt since the last success, from 1.
    pub attempt: i64,
    /// The interval of the backoff before this attempt; `None` if the last attempt did not fail.
    pub previous_interval: Option<Seconds>,
    stop: CancellationToken,
}

impl Machine {
    /// A machine outside of a loop, to test an implementation of
    /// [`ControlLoop::process`](super::ControlLoop::process) with.
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

    /// Canceled when acting on the machine has to stop: the lease is lost, the attempt has timed out, the
    /// loop shuts down, or an operator has paused the process and stops what runs. The future is dropped [`LoopOptions::grace`](super::LoopOptions::grace)
    /// later.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// The machines of claimed work, in its order: one statement for all of them.
    pub(super) async fn read_all(
        session: &Session,
        claimed: &[Work],
    ) -> Result<Vec<Self>, TxError> {
        let ids: Vec<MachineId> = claimed.iter().map(Work::machine).collect();
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
        Ok(claimed.iter().map(machine).collect())
    }
}

async fn read(session: &Session, ids: &[MachineId]) -> Result<Vec<ProvidedMachine>, TxError> {
    let mut retry = session.inner.retry(None);
    let database = &session.inner.component.database;
    let read = async |retry: &_| {
        let read = async |conn: &mut Checkout| Ok(provided::of_all(conn, ids).await?);
        database.run_for(retry, read).await
    };
    retry.read(read).await
}
