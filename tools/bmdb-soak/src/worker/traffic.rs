//! What others do to the fleet in the stress: they write tags, and agents send heartbeats or are silent.

use super::context::{Context, Next};
use crate::failure::Done;
use crate::heartbeats;
use crate::rng::Rng;
use bmdb_core::{Bmdb, Session, Tx, TxError, TxOptions};
use bmdb_model::MachineId;
use bmdb_model::os_installation::InstallationResult;
use bmdb_model::schema::machine_os_installation_request as request;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Writes tags in one session after the other until the worker stops.
pub(super) async fn write_tags(bmdb: Bmdb, context: Arc<Context>) -> Done {
    let mut rng = context.rng();
    let machines = match &context.side {
        Some(side) => {
            side.query("SELECT machine_id::text FROM machines", &[])
                .await?
        }
        None => return Ok(()),
    };
    let machines: Vec<MachineId> = machines
        .iter()
        .map(|row| row.get::<_, &str>(0).parse())
        .collect::<Result<_, _>>()?;
    while !context.is_stopping() {
        let Some(session) = context.start_session(&bmdb, &mut rng).await? else {
            continue;
        };
        let mut next = Next::GoOn;
        while next == Next::GoOn && !context.is_stopping() {
            let machine = *rng.pick(&machines);
            if let Err(error) = write_one(&context, &mut rng, &session, machine).await? {
                next = context.failed_in_session("tagging", &error)?;
            }
            tokio::time::sleep(Duration::from_millis(1) * rng.below(10)).await;
        }
        context.close(session, &mut rng).await?;
    }
    Ok(())
}

async fn write_one(
    context: &Context,
    rng: &mut Rng,
    session: &Session,
    machine: MachineId,
) -> Done<Result<(), TxError>> {
    let options = *rng.pick(&[TxOptions::default(), TxOptions::read_committed()]);
    let what = rng.below(10);
    let runs = &AtomicU32::new(0);
    let mut written = session
        .transact_with(options, async |tx| {
            runs.fetch_add(1, Ordering::Relaxed);
            write(tx, machine, what).await
        })
        .await;
    context.closure_ran(runs.load(Ordering::Relaxed))?;
    if what == HOLD && written.is_ok() {
        // If a fault prevents it, a later release of the same machine will do.
        let release = async |tx: &mut Tx<'_>| tx.release_hold(machine).await;
        let released = session.transact_with(options, release).await;
        written = released.map(drop);
    }
    Ok(written)
}

const HOLD: u32 = 0;

async fn write(tx: &mut Tx<'_>, machine: MachineId, what: u32) -> Result<(), TxError> {
    match what {
        HOLD => tx.hold(machine, "stress").await,
        1 => tx.release_hold(machine).await.map(drop),
        2 => tx.set_hardware_report(machine, b"report").await,
        3..=4 => {
            let generation = generation(tx, machine).await?;
            let request = generation.unwrap_or(0) + 1;
            tx.set_os_installation_request(machine, request, b"").await
        }
        5 => match generation(tx, machine).await? {
            Some(generation) => {
                let success = InstallationResult::Success;
                tx.set_os_installation_report(machine, generation, success, b"")
                    .await
            }
            None => Ok(()),
        },
        _ => tx.unset_agent(machine).await,
    }
}

async fn generation(tx: &mut Tx<'_>, machine: MachineId) -> Result<Option<i64>, TxError> {
    let generation = request::table.find(machine).select(request::generation);
    Ok(generation.first(tx).await.optional()?)
}

/// Sends heartbeats of all agents that are not silent, and logs those that were acknowledged.
pub(super) async fn send_heartbeats(bmdb: Bmdb, context: Arc<Context>) -> Done {
    let mut rng = context.rng();
    while !context.is_stopping() {
        let Some(session) = context.start_session(&bmdb, &mut rng).await? else {
            continue;
        };
        let mut next = Next::GoOn;
        while next == Next::GoOn && !context.is_stopping() {
            next = send_some(&context, &session).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        context.close(session, &mut rng).await?;
    }
    Ok(())
}

async fn send_some(context: &Context, session: &Session) -> Done<Next> {
    let Some(side) = &context.side else {
        return Ok(Next::EndSession);
    };
    match heartbeats::send(side, session).await? {
        Ok(()) => Ok(Next::GoOn),
        Err(error) => context.failed_in_session("heartbeats", &error),
    }
}
