//! After the faults: whether the workers recover from them.

use crate::connect::connect;
use crate::environment::Environment;
use crate::failure::Done;
use bmdb_core::{Bmdb, Config};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Within this time after the faults each worker must end an attempt, and the workers' janitors must
/// have reclaimed the work of expired sessions.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Sessions that are dead for longer than a janitor, which runs twice a second, and its transaction
/// take.
const DEAD_SESSIONS: &str =
    "SELECT format('session %s (%s) expired at %s, and still has %s claimed machines', s.session_id,
                   s.session_runtime_info, s.session_deadline, count(i.machine_id))
     FROM sessions s LEFT JOIN work_item i USING (session_id)
     WHERE s.session_deadline < clock_timestamp() - interval '3 seconds'
     GROUP BY s.session_id, s.session_runtime_info, s.session_deadline";

/// Waits until the workers have recovered; returns what has not happened in time.
pub(crate) async fn wait_for_recovery(environment: &Environment) -> Done<Vec<String>> {
    let mut workers = environment.workers.lock().await;
    workers.replace_dead().await?;
    let journals: Vec<PathBuf> = (0..workers.count())
        .map(|place| workers.journal_at(place))
        .collect();
    let acknowledged = |journal: &PathBuf| {
        let text = fs::read_to_string(journal).unwrap_or_default();
        text.matches(r#"{"Acknowledged":"#).count()
    };
    let before: Vec<usize> = journals.iter().map(acknowledged).collect();
    let began = Instant::now();
    loop {
        let mut stuck: Vec<String> = environment.db.rows(DEAD_SESSIONS).await?;
        for (journal, before) in journals.iter().zip(&before) {
            if acknowledged(journal) == *before {
                stuck.push(format!(
                    "the worker of {} has ended no attempt since the faults were over",
                    journal.display()
                ));
            }
        }
        if stuck.is_empty() || began.elapsed() > RECOVERY_TIMEOUT {
            return Ok(stuck);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Reclaims expired sessions until `condition`, an SQL expression, holds or `limit` is over. A session
/// whose lease ran out during the drain is left to the janitors, and those end with the last worker.
pub(crate) async fn reclaim_until(url: &str, condition: &str, limit: Duration) -> Done {
    let config = Config::new(url).component("soak-janitor");
    let bmdb = Bmdb::connect(config).await?;
    let client = connect(url).await?;
    let condition = format!("SELECT {condition}");
    let began = Instant::now();
    loop {
        bmdb.reclaim_expired().await?;
        let row = client.query_one(&condition, &[]).await?;
        if row.get(0) || began.elapsed() > limit {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
}
