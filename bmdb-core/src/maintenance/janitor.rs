//! Janitor: takes turns that free the work of expired sessions and do due maintenance.

use crate::db::deadline::Deadline;
use crate::db::retry::jittered;
use crate::error::TxError;
use crate::maintenance::batch::{Maintenance, MaintenanceBatch};
use crate::maintenance::reclaim::{self, Reclaimed};
use crate::maintenance::set_back;
use crate::session::heartbeat::Registry;
use crate::telemetry::attempt_counts::AttemptCounts;
use bmdb_model::internal::maintenance::{self, PendingTasks};
use bmdb_model::internal::process_control;
use diesel_async::AsyncPgConnection;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long the server may take to answer the query that begins a turn.
const QUERY_LIMIT: Duration = Duration::from_secs(2);

/// What a turn of the janitor has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct JanitorReport {
    /// The work that it freed.
    pub reclaimed: Reclaimed,
    /// The maintenance that was due, at most one batch of each task.
    pub batches: Vec<MaintenanceBatch>,
}

/// Takes turns until it is aborted, at least once in an interval. Any number of janitors may run: they skip
/// rows that others have locked.
pub(crate) async fn run(
    (maintenance, registry, attempt_counts): (Arc<Maintenance>, Arc<Registry>, Arc<AttemptCounts>),
    interval: Duration,
) {
    let entropy = uuid::Uuid::new_v4().as_u128();
    let mut health = Health::default();
    // Beside the loop, so that reclaiming never waits for a batch. They end with the loop.
    let mut batches = JoinSet::new();
    for turn in 0.. {
        // A tenth is left for the turn itself.
        let longest = interval * 9 / 10;
        tokio::time::sleep(jittered(longest, bmdb_backoff::mix(entropy, turn))).await;
        while batches.try_join_next().is_some() {}
        let pending = pending(&maintenance).await;
        let may_act = health.may_act(pending.is_some(), registry.is_healthy());
        let Some(PendingTasks {
            expired,
            due,
            disarmed,
            overlong,
            set_back,
        }) = pending.filter(|_| may_act)
        else {
            continue;
        };
        if disarmed && let Err(error) = rearm(&maintenance).await {
            tracing::warn!(%error, "disarmed breakers could not be counted");
        }
        let ended = match end_overlong_leases(&maintenance, overlong).await {
            Ok(ended) => ended,
            Err(error) => {
                tracing::warn!(%error, "leases that end later than they can could not be ended");
                false
            }
        };
        if expired || ended {
            reclaim_and_log(&maintenance, &attempt_counts).await;
        }
        if (!due.is_empty() || set_back) && batches.is_empty() {
            let maintenance = Arc::clone(&maintenance);
            batches.spawn(async move {
                if set_back && let Err(error) = set_back::mend(&maintenance.database).await {
                    tracing::warn!(%error, "times in the future of a clock that was set back are not mended yet");
                }
                for task in due {
                    maintenance.do_and_log(task).await;
                }
            });
        }
    }
}

/// Takes one turn now.
pub(crate) async fn take_turn(
    maintenance: &Maintenance,
    attempt_counts: &AttemptCounts,
) -> Result<JanitorReport, TxError> {
    end_overlong_leases(maintenance, true).await?;
    set_back::mend(&maintenance.database).await?;
    let mut report = JanitorReport {
        reclaimed: reclaim::reclaim(&maintenance.database, attempt_counts).await?,
        ..JanitorReport::default()
    };
    rearm(maintenance).await?;
    for task in maintenance.tasks() {
        report.batches.extend(maintenance.batch(*task).await?);
    }
    Ok(report)
}

/// Whether this component may expire the sessions of others. A janitor that cannot renew its own leases must
/// not. A component without sessions has no heartbeat, so its own query decides: after one that was not
/// answered in time, it may act only after another one was answered.
#[derive(Debug, Default, PartialEq, Eq)]
struct Health {
    in_doubt: bool,
}

impl Health {
    /// Whether the janitor may act after a query that was answered in time, or was not.
    fn may_act(&mut self, answered: bool, sessions_are_live: bool) -> bool {
        let was_in_doubt = std::mem::replace(&mut self.in_doubt, !answered);
        answered && sessions_are_live && !was_in_doubt
    }
}

/// What there is to do; `None` without an answer in time.
async fn pending(maintenance: &Maintenance) -> Option<PendingTasks> {
    let (database, tasks) = (&maintenance.database, maintenance.tasks());
    let pending = async {
        let mut conn = database.checkout(&database.deadline()).await?;
        let pending = maintenance::pending(&mut conn, tasks);
        let pending = Deadline::per_answer(QUERY_LIMIT).answer(pending).await;
        conn.settle(pending.map_err(TxError::from))
    };
    match pending.await {
        Ok(pending) => Some(pending),
        Err(error) => {
            tracing::warn!(%error, "the janitor could not take its turn");
            None
        }
    }
}

/// Ends leases that the database's clock keeps alive after it was set back; returns whether there were any.
async fn end_overlong_leases(maintenance: &Maintenance, are_any: bool) -> Result<bool, TxError> {
    let leases = &maintenance.overlong_leases;
    match are_any {
        true => leases.end_unchanged(&maintenance.database).await,
        false => Ok(false),
    }
}

/// Arms breakers again where no more machines than allowed need the process. Otherwise only claims count, and
/// there are none while nothing is due.
async fn rearm(maintenance: &Maintenance) -> Result<(), TxError> {
    let rearm =
        async |conn: &mut AsyncPgConnection| Ok(process_control::rearm_breakers(conn).await?);
    maintenance.database.transaction(&rearm).await
}

async fn reclaim_and_log(maintenance: &Maintenance, attempt_counts: &AttemptCounts) {
    match reclaim::reclaim(&maintenance.database, attempt_counts).await {
        Ok(reclaimed) => {
            for lost in &reclaimed.attempts {
                tracing::info!(machine = %lost.machine, process = %lost.process, session = %lost.session, "work reclaimed");
            }
        }
        Err(error) => tracing::warn!(%error, "the work of expired sessions could not be freed"),
    }
}

#[cfg(test)]
mod tests {
    use super::Health;

    #[test]
    fn a_janitor_in_doubt_acts_again_after_an_answered_query() {
        let mut health = Health::default();
        assert!(health.may_act(true, true));
        assert!(!health.may_act(false, true), "the database is silent");
        assert!(!health.may_act(true, true), "it has only just answered");
        assert!(health.may_act(true, true));
        assert!(!health.may_act(true, false), "its heartbeats fail");
        assert!(health.may_act(true, true));
    }
}
