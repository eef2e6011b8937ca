//! What else goes on in a database: the fleet is planned anew and history is trimmed, all the time.

use crate::Error;
use bmdb_core::{Bmdb, Config};
use bmdb_model::history::Retention;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinHandle;

/// One attempt of each machine stays.
const RETENTION: Retention = Retention {
    attempts_per_machine: 1,
    seconds: 86_400,
};

/// Upkeep that goes on until it is told to end.
pub(crate) struct Disturbance {
    goes_on: Arc<AtomicBool>,
    tasks: [JoinHandle<Result<(), Error>>; 2],
}

/// Starts it, as a component of its own.
pub(crate) async fn start(config: Config) -> Result<Disturbance, Error> {
    let bmdb = Bmdb::connect(config.component("upkeep")).await?;
    let goes_on = Arc::new(AtomicBool::new(true));
    let (planner, planning) = (bmdb.clone(), goes_on.clone());
    let planned = tokio::spawn(async move {
        while planning.load(Ordering::Relaxed) {
            planner.replan().await?;
        }
        Ok(())
    });
    let trimming = goes_on.clone();
    let trimmed = tokio::spawn(async move {
        while trimming.load(Ordering::Relaxed) {
            bmdb.trim_history(RETENTION).await?;
        }
        Ok(())
    });
    Ok(Disturbance {
        goes_on,
        tasks: [planned, trimmed],
    })
}

impl Disturbance {
    /// Ends it, once it has gone through the whole fleet.
    pub(crate) async fn end(self) -> Result<(), Error> {
        self.goes_on.store(false, Ordering::Relaxed);
        for task in self.tasks {
            task.await??;
        }
        Ok(())
    }
}
