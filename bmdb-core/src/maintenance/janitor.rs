//! The janitor: frees the work of sessions that have expired, and does the slow upkeep.

use crate::db::pool::Pool;
use crate::db::retry::jittered;
use crate::error::TxError;
use crate::maintenance::batch::{MaintenanceBatch, Upkeep};
use crate::maintenance::reclaim::{self, Reclaimed};
use crate::session::heartbeat::Registry;
use crate::telemetry::attempt_counts::Tally;
use bmdb_model::internal::maintenance::{self, PendingTasks};
use bmdb_model::maintenance::Task;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long the server may take over the look that begins a turn.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// What a turn of the janitor has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct JanitorReport {
    /// The work that it freed.
    pub losses: Reclaimed,
    /// The chunks of upkeep that were due, at most one of each kind.
    pub upkeep: Vec<MaintenanceBatch>,
}

/// Takes turns until it is aborted, at least once in an interval. Many janitors do not hurt: they skip
/// what others have locked.
pub(crate) async fn run(
    (pool, registry, tally): (Pool, Arc<Registry>, Arc<Tally>),
    upkeep: Upkeep,
    interval: Duration,
) {
    let entropy = uuid::Uuid::new_v4().as_u128();
    let mut standing = Standing::default();
    // Beside the loop, so that lost work never waits for a chunk. They end with it.
    let mut chunks = JoinSet::new();
    for turn in 0.. {
        // A tenth is left for the turn itself.
        let longest = interval * 9 / 10;
        tokio::time::sleep(jittered(longest, bmdb_backoff::mix(entropy, turn))).await;
        while chunks.try_join_next().is_some() {}
        let looked = look(&pool, upkeep.tasks()).await;
        let may_act = standing.after(looked.is_some(), registry.is_healthy());
        let Some(PendingTasks { expired, due }) = looked.filter(|_| may_act) else {
            continue;
        };
        if expired {
            free(&pool, &tally).await;
        }
        if !due.is_empty() && chunks.is_empty() {
            let (pool, upkeep) = (pool.clone(), upkeep.clone());
            chunks.spawn(async move {
                for task in due {
                    upkeep.take_chunk(&pool, task).await;
                }
            });
        }
    }
}

/// One turn, now.
pub(crate) async fn take_turn(
    pool: &Pool,
    upkeep: &Upkeep,
    tally: &Tally,
) -> Result<JanitorReport, TxError> {
    let losses = reclaim::free(pool, tally).await?;
    let mut turn = JanitorReport {
        losses,
        ..JanitorReport::default()
    };
    for task in upkeep.tasks() {
        turn.upkeep.extend(upkeep.chunk(pool, *task).await?);
    }
    Ok(turn)
}

/// Whether a component is a judge of others. Who cannot keep its own sessions alive is none; and who
/// has no session, and so no heartbeat, is none while the database does not answer it in time, and
/// after that not before a look has been answered that did nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
struct Standing {
    in_doubt: bool,
}

impl Standing {
    /// Whether it may act after a look that was answered in time, or was not.
    fn after(&mut self, answered: bool, beats: bool) -> bool {
        let was_in_doubt = std::mem::replace(&mut self.in_doubt, !answered);
        answered && beats && !was_in_doubt
    }
}

/// What there is to do; `None` without an answer in time.
async fn look(pool: &Pool, tasks: &[Task]) -> Option<PendingTasks> {
    let looked = async {
        let mut conn = pool.checkout().await?;
        let look = tokio::time::timeout(LOOK_LIMIT, maintenance::pending(&mut conn, tasks)).await;
        let Ok(look) = look else {
            tracing::warn!(limit = ?LOOK_LIMIT, "the janitor got no answer in time");
            return Ok(None);
        };
        let look = look.map_err(TxError::from);
        match &look {
            Ok(_) => conn.give_back(),
            Err(error) => conn.give_back_after(error),
        }
        look.map(Some)
    };
    looked.await.unwrap_or_else(|error: TxError| {
        tracing::warn!(%error, "the janitor could not take its turn");
        None
    })
}

async fn free(pool: &Pool, tally: &Tally) {
    match reclaim::free(pool, tally).await {
        Ok(losses) => {
            for lost in &losses.attempts {
                tracing::info!(machine = %lost.machine, process = %lost.process, session = %lost.session, "freed lost work");
            }
        }
        Err(error) => tracing::warn!(%error, "lost work could not be freed"),
    }
}

#[cfg(test)]
mod tests {
    use super::Standing;

    #[test]
    fn a_component_in_doubt_acts_again_after_a_look_that_was_answered() {
        let mut standing = Standing::default();
        assert!(standing.after(true, true));
        assert!(!standing.after(false, true), "the database is silent");
        assert!(!standing.after(true, true), "it has only just answered");
        assert!(standing.after(true, true));
        assert!(!standing.after(true, false), "its sessions do not beat");
        assert!(standing.after(true, true));
    }
}
