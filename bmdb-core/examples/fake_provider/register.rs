//! Registration: each device of the provider becomes a machine.

use super::provider::{Agent, Device, FakeProvider};
use super::{Error, start};
use bmdb_core::{Bmdb, SessionOptions, Tx, TxError};
use bmdb_model::provided::by_provider;
use bmdb_model::{AgentStarted, Provided, connection};
use chrono::TimeDelta;

/// Registers all devices in one transaction. A second program that registers the same devices at the
/// same time fails, because a provider's id is unique.
pub(super) async fn all(bmdb: &Bmdb, provider: &FakeProvider) -> Result<(), Error> {
    let mut devices = provider.list().await;
    devices.push(provider.create("dev-7").await);
    let session = bmdb.start_session(SessionOptions::default()).await?;
    let registered = session.transact(async |tx| {
        if !by_provider(tx, &start::PROVIDER).await?.is_empty() {
            // The devices are new in each run, but the database remembers those of an earlier one.
            let known = "the database has machines of this provider already: use another database";
            return Err(TxError::abort(known));
        }
        for device in &devices {
            register(tx, device).await?;
        }
        Ok(())
    });
    registered.await?;
    println!("registered: {} machines", devices.len());
    Ok(session.close().await?)
}

async fn register(tx: &mut Tx<'_>, device: &Device) -> Result<(), TxError> {
    let machine = tx.create_machine().await?;
    let mut provided = Provided::new(start::PROVIDER, &device.id);
    provided.ip_address = Some(device.address.clone());
    provided.location = Some(device.location.clone());
    tx.set_provided(machine, &provided).await?;
    // Agents that run there already, according to the provider. Times that are compared with stored times
    // must come from the database's clock.
    let now = connection::clock(tx).await?;
    let heard = match device.agent {
        Agent::None => return Ok(()),
        Agent::Answers => now,
        Agent::Silent => now - TimeDelta::minutes(15),
    };
    let started = AgentStarted::at(now - TimeDelta::hours(1), "an older key");
    tx.set_agent_started(machine, &started).await?;
    tx.set_agent_heartbeat(machine, Some(heard)).await
}
