//! Machine: the data of a machine that a control loop has claimed.

use crate::work::Work;
use bmdb_backoff::Seconds;
use bmdb_model::provided::UnreadableProvided;
use bmdb_model::{MachineId, Provided};
use tokio_util::sync::CancellationToken;

/// A machine to act on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Machine {
    /// The machine's id.
    pub id: MachineId,
    /// Where it comes from and how it is reached, as it was when the machine had been claimed; `None` if no
    /// provider has it any more. It comes with the claim and costs no round trip.
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

    /// The machine of claimed work.
    pub(super) fn of(work: &Work) -> Result<Self, UnreadableProvided> {
        let provided = work.provided().map_err(Clone::clone)?;
        Ok(Self {
            attempt: work.failures().saturating_add(1),
            previous_interval: work.previous_interval(),
            ..Self::new(work.machine(), provided.cloned())
        })
    }
}
