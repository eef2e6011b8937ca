//! Finishing with tags that carry the fence of the work.

use super::context::Context;
use crate::failure::Done;
use bmdb_core::{EndError, TxOptions, Work};
use bmdb_model::{AgentStarted, Process};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::sync::atomic::{AtomicU32, Ordering};

diesel::table! {
    /// Every tag that a finish wrote, also those that were overwritten.
    tag_log (id) { id -> BigInt, machine_id -> Uuid, fence -> BigInt }
}

/// Finishes work: a recovery removes the machine's agent, other processes start it.
pub(super) async fn finish(
    context: &Context,
    work: Work,
    options: TxOptions,
) -> Done<Result<(), EndError>> {
    let (machine, fence) = (work.machine(), work.fence());
    let recovered = *work.process() == Process::SHEPHERD_RECOVERY;
    let runs = AtomicU32::new(0);
    let finished = work
        .finish_with(options, async |tx| {
            runs.fetch_add(1, Ordering::Relaxed);
            let entry = (
                tag_log::machine_id.eq(machine),
                tag_log::fence.eq(fence.get()),
            );
            diesel::insert_into(tag_log::table)
                .values(entry)
                .execute(tx)
                .await?;
            if recovered {
                return tx.unset_agent(machine).await;
            }
            let started = AgentStarted::now(fence.to_string());
            tx.set_agent_started(machine, &started).await
        })
        .await;
    context.closure_ran(runs.into_inner())?;
    Ok(finished)
}
