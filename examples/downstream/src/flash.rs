//! A control loop over a process of our own: it flashes the firmware that is wanted.

use crate::Error;
use crate::firmware::{self, FIRMWARE_UPDATE};
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_core::{Claim, Session, TxError, TxOptions, Work};
use bmdb_model::{Fence, MachineId, Provider};
use futures_util::future::join_all;
use std::collections::HashMap;

/// How long a machine whose flashing failed is left alone: 10, 30, 90, … minutes, a day at most.
pub const RETRY: Backoff = Backoff::exponential(
    Seconds::new(600).unwrap(),
    Seconds::new(24 * 3600).unwrap(),
    Factor::from_int(3),
);

/// What is to be done to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flash {
    /// The machine.
    pub machine: MachineId,
    /// The version that it is to have.
    pub version: String,
    /// Hand it along: what refuses smaller ones than it has seen is safe from a worker that has lost
    /// its lease and does not know it yet.
    pub fence: Fence,
}

/// What came of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flashed {
    /// It has this version now.
    Installed(MachineId, String),
    /// It is tried again after its backoff.
    Failed(MachineId),
    /// The operator had taken the wish back.
    Unwanted(MachineId),
}

/// Flashes up to `limit` machines of this provider that are due, all at the same time. `flash` talks
/// to one machine, and returns why it failed; it is dropped where the session's lease is lost.
///
/// Nothing to do is an empty answer: wait before the next round. After an error too: each machine has
/// come to an end of its own before it is returned.
pub async fn round(
    session: &Session,
    provider: &Provider,
    limit: u32,
    flash: impl AsyncFn(&Flash) -> Result<(), String>,
) -> Result<Vec<Flashed>, Error> {
    let due = Claim::of(&FIRMWARE_UPDATE).provider(provider).limit(limit);
    let works = session.claim(&due).await?;
    if works.is_empty() {
        return Ok(Vec::new());
    }
    // After the claim: what is wanted now may not be what made the machine due. Works that are dropped
    // because this fails are given back.
    let machines: Vec<MachineId> = works.iter().map(Work::machine).collect();
    let wanted = session.transact_with(TxOptions::read_only(), async |tx| {
        Ok(firmware::wanted(tx, &machines).await?)
    });
    let mut wanted: HashMap<MachineId, String> = wanted.await?.into_iter().collect();
    let updates = works.into_iter().map(|work| {
        let version = wanted.remove(&work.machine());
        update(work, version, &flash)
    });
    join_all(updates).await.into_iter().collect()
}

/// Brings one machine to its end. Ends of several that come at the same time need no care to be cheap:
/// bmdb sends them in one statement.
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
        flashed = flash(&order) => flashed,
        // Somebody else may get the machine from here on.
        () = work.lost() => return Err(TxError::SessionExpired.into()),
    };
    if let Err(cause) = flashed {
        work.fail(&RETRY, &cause).await?;
        return Ok(Flashed::Failed(machine));
    }
    let Flash { version, .. } = order;
    // With the tag that is written here, the view does not list the machine any more, and bmdb plans
    // that: unless another version is wanted by now.
    work.finish(async |tx| firmware::set_installed(tx, machine, &version).await)
        .await?;
    Ok(Flashed::Installed(machine, version))
}
