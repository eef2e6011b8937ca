//! Registering what the provider has: each device becomes a machine.

use super::provider::{Agent, Device, FakeProvider};
use super::{Error, start};
use bmdb_core::{Bmdb, SessionOptions, Tx, TxError};
use bmdb_model::provided::by_provider;
use bmdb_model::{AgentStarted, Provided, connection};
use chrono::TimeDelta;

/// Registers all devices in one transaction. Whoever registers the same ones at the same time is
/// refused: a provider's id is unique.
pub(super) async fn all(bmdb: &Bmdb, provider: &FakeProvider) -> Result<(), Error> {
    let mut devices = provider.list().await;
    devices.push(provider.create("dev-7").await);
    let session = bmdb.start_session(SessionOptions::default()).await?;
    let registered = session.transact(async |tx| {
        if !by_provider(tx, &start::PROVIDER).await?.is_empty() {
            // The devices have forgotten what was done to them, and the database has not.
            let known = "the database knows this provider's machines already: take another one";
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
    // What the provider's records say of the agents that run there already. Only the database's clock
    // counts, for whatever is compared with stored times.
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
