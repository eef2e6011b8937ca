//! After the faults: whether the fleet gets over them.

use super::environment::Stage;
use crate::shell::Failure;
use bmdb_core::{Bmdb, Config};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// Once the faults are over, each worker has to end some work within this time, and the janitors of
/// the fleet have to free what dead ones held.
const COME_TO_REST: Duration = Duration::from_secs(30);

/// The longest lease of a worker, and some time to free what it leaves.
const LAST_LEASES: Duration = Duration::from_millis(2_500);

/// Waits until each worker has ended some work again, and the janitors of the fleet have freed what
/// dead workers held; complains of what does not come to pass.
pub(super) async fn come_to_rest(stage: &Stage) -> Result<Vec<String>, Failure> {
    let mut workers = stage.workers.lock().await;
    workers.replace_dead().await?;
    let places: Vec<PathBuf> = (0..workers.count())
        .map(|place| workers.journal_at(place))
        .collect();
    let acknowledged = |journal: &PathBuf| {
        let text = fs::read_to_string(journal).unwrap_or_default();
        text.matches(" acknowledged ").count()
    };
    let before: Vec<usize> = places.iter().map(acknowledged).collect();
    // Longer dead than a janitor, who looks twice a second, and its transaction take.
    let dead =
        "SELECT format('session %s (%s) is dead since %s, and holds %s machines', s.session_id,
                              s.session_runtime_info, s.session_deadline, count(i.machine_id))
                FROM sessions s LEFT JOIN work_item i USING (session_id)
                WHERE s.session_deadline < clock_timestamp() - interval '3 seconds'
                GROUP BY s.session_id, s.session_runtime_info, s.session_deadline";
    let begun = Instant::now();
    loop {
        let mut stuck: Vec<String> = stage.db.rows(dead).await.map_err(Failure::check)?;
        for (place, journal) in places.iter().enumerate() {
            if acknowledged(journal) == before[place] {
                stuck.push(format!(
                    "the worker of {} has ended no work since the faults were over",
                    journal.display()
                ));
            }
        }
        if stuck.is_empty() || begun.elapsed() > COME_TO_REST {
            return Ok(stuck);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A worker whose lease ran out while it drained leaves its session to the janitors, and those go with
/// the last worker: this is one more, for the longest lease and what its transactions take.
pub(super) async fn free_what_has_expired(url: &str) -> Result<(), Failure> {
    let bmdb = Bmdb::connect(Config::new(url).component("soak").runtime_info("janitor"))
        .await
        .map_err(Failure::check)?;
    let begun = Instant::now();
    while begun.elapsed() < LAST_LEASES {
        bmdb.reclaim_expired().await.map_err(Failure::check)?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
