//! Disturbance: maintenance that replans the fleet and trims history all the time.

use crate::Error;
use bmdb_core::{Bmdb, Config};
use bmdb_model::history::Retention;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::task::JoinHandle;

/// Keeps one attempt per machine.
const RETENTION: Retention = Retention {
    attempts_per_machine: 1,
    seconds: 86_400,
};

/// Maintenance that runs until it is stopped.
pub(crate) struct Disturbance {
    goes_on: Arc<AtomicBool>,
    tasks: [JoinHandle<Result<f64, Error>>; 2],
}

/// Starts maintenance as a component of its own.
pub(crate) async fn start(config: Config) -> Result<Disturbance, Error> {
    let bmdb = Bmdb::connect(config.component("upkeep")).await?;
    let goes_on = Arc::new(AtomicBool::new(true));
    let (planner, planning) = (bmdb.clone(), goes_on.clone());
    let planned = tokio::spawn(async move {
        let (began, mut planned) = (Instant::now(), 0);
        while planning.load(Ordering::Relaxed) {
            planned += planner.replan().await?;
        }
        per_second(planned, began)
    });
    let trimming = goes_on.clone();
    let trimmed = tokio::spawn(async move {
        let (began, mut trimmed) = (Instant::now(), 0);
        while trimming.load(Ordering::Relaxed) {
            trimmed += bmdb.trim_history(RETENTION).await?;
        }
        per_second(trimmed, began)
    });
    Ok(Disturbance {
        goes_on,
        tasks: [planned, trimmed],
    })
}

impl Disturbance {
    /// Stops after a pass through the whole fleet. Returns the replanned machines and the trimmed
    /// attempts per second.
    pub(crate) async fn end(self) -> Result<(f64, f64), Error> {
        self.goes_on.store(false, Ordering::Relaxed);
        let [planned, trimmed] = self.tasks;
        Ok((planned.await??, trimmed.await??))
    }
}

fn per_second(rows: u64, since: Instant) -> Result<f64, Error> {
    Ok(f64::from(u32::try_from(rows)?) / since.elapsed().as_secs_f64())
}
