//! Gauges of values that change without an event: set once a second.

use super::{HEARTBEAT_AGE, Meters, POOL_IN_USE, POOL_SIZE, POOL_WAITING};
use crate::db::database::Database;
use metrics::{Gauge, gauge};
use std::sync::Arc;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(1);

struct Gauges {
    meters: Arc<Meters>,
    heartbeat_age: Gauge,
    pool_size: Gauge,
    pool_in_use: Gauge,
    pool_waiting: Gauge,
}

/// Sets the gauges of a component until it is aborted; sends nothing to the database. `heartbeat_age` is
/// `None` without a session.
pub(crate) async fn keep_gauges(
    meters: Arc<Meters>,
    database: Database,
    heartbeat_age: impl Fn() -> Option<Duration>,
) {
    let labels = meters.labels();
    let of_component = |name: &'static str| gauge!(name, labels.iter());
    let gauges = Gauges {
        meters: meters.clone(),
        heartbeat_age: of_component(HEARTBEAT_AGE),
        pool_size: of_component(POOL_SIZE),
        pool_in_use: of_component(POOL_IN_USE),
        pool_waiting: of_component(POOL_WAITING),
    };
    loop {
        let load = database.load();
        gauges.pool_size.set(precise(load.size));
        gauges.pool_in_use.set(precise(load.in_use));
        gauges.pool_waiting.set(precise(load.waiting));
        gauges
            .heartbeat_age
            .set(heartbeat_age().unwrap_or_default());
        meters.set_lost();
        tokio::time::sleep(PERIOD).await;
    }
}

/// A dropped component uses no connection and owes no heartbeat.
impl Drop for Gauges {
    fn drop(&mut self) {
        for gauge in [
            &self.heartbeat_age,
            &self.pool_size,
            &self.pool_in_use,
            &self.pool_waiting,
        ] {
            gauge.set(0);
        }
        self.meters.set_none_lost();
    }
}

fn precise(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
