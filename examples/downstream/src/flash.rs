//! A control loop for a process of our own: it installs the wanted firmware.

use crate::Error;
use crate::firmware::{self, FIRMWARE_UPDATE};
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_core::{Claim, Session, TxError, TxOptions, Work};
use bmdb_model::{Fence, MachineId, Provider};
use futures_util::future::join_all;
use std::collections::HashMap;

/// The backoff of a machine whose flashing failed: 10, 30, 90, … minutes, at most a day.
pub const RETRY: Backoff = Backoff::exponential(
    Seconds::new(600).unwrap(),
    Seconds::new(24 * 3600).unwrap(),
    Factor::from_int(3),
);

/// A machine to flash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flash {
    /// The machine.
    pub machine: MachineId,
    /// The version to install.
    pub version: String,
    /// The claim's fence. Pass it to the machine: if that rejects smaller fences than it has seen, a
    /// worker that has lost its lease unnoticed can do no harm.
    pub fence: Fence,
}

/// The result for a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flashed {
    /// This version was installed.
    Installed(MachineId, String),
    /// Flashing failed; the machine is due again after its backoff.
    Failed(MachineId),
    /// No version was wanted any more.
    Unwanted(MachineId),
}

/// Flashes up to `limit` machines of this provider that are due, concurrently. `flash` contacts one
/// machine, and returns why it failed; its future is dropped if the session loses its lease.
///
/// If no machine is due, the result is empty: wait before the next round. Also wait after an error. It
/// is returned only after the work on every machine has ended.
pub async fn round(
    session: &Session,
    provider: &Provider,
    limit: u32,
    flash: impl AsyncFn(&Flash) -> Result<(), String>,
) -> Result<Vec<Flashed>, Error> {
    let due = Claim::of(&FIRMWARE_UPDATE).provider(provider).limit(limit);
    let claimed = session.claim(&due).await?;
    if claimed.is_empty() {
        return Ok(Vec::new());
    }
    // After the claim, because what is wanted may have changed since the machine became due. If this
    // fails, dropping the claimed machines releases them.
    let machines: Vec<MachineId> = claimed.iter().map(Work::machine).collect();
    let wanted = session.transact_with(TxOptions::read_only(), async |tx| {
        Ok(firmware::wanted(tx, &machines).await?)
    });
    let mut wanted: HashMap<MachineId, String> = wanted.await?.into_iter().collect();
    let updates = claimed.into_iter().map(|work| {
        let version = wanted.remove(&work.machine());
        update(work, version, &flash)
    });
    join_all(updates).await.into_iter().collect()
}

/// Flashes one machine and ends its work. Ends at the same time are cheap: bmdb sends them in one
/// statement.
async fn update(
    work: Work,
    version: Option<String>,
    flash: &impl AsyncFn(&Flash) -> Result<(), String>,
) -> Result<Flashed, Error> {
    let machine = work.machine();
    let Some(version) = version else {
        work.cancel().await?;
        return Ok(Flashed::Unwanted(machine));
    };
    let order = Flash {
        machine,
        version,
        fence: work.fence(),
    };
    let flashed = tokio::select! {
        // In this order: after a stop of this process, nothing is sent to a machine that it has lost.
        biased;
        // Another session can claim the machine from here on.
        () = work.lost() => return Err(TxError::SessionExpired.into()),
        flashed = flash(&order) => flashed,
    };
    if let Err(cause) = flashed {
        work.fail(&RETRY, &cause).await?;
        return Ok(Flashed::Failed(machine));
    }
    let Flash { version, .. } = order;
    // With this tag the view no longer lists the machine, unless another version is wanted by now. bmdb
    // plans that in the same transaction.
    work.finish(async |tx| firmware::set_installed(tx, machine, &version).await)
        .await?;
    Ok(Flashed::Installed(machine, version))
}
