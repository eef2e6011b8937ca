//! Janitor: its turns, its dry run, and how soon it frees expired work.

mod clock;
mod dry_run;
mod killed;
mod maintenance;
mod reclaim;
mod turns;

use crate::scenario::Scenario;
use bmdb_core::{Bmdb, Config, Retention};
use bmdb_model::SessionId;
use bmdb_testkit::TestDb;
use std::time::Duration;

/// Keeps only the last hour.
const AN_HOUR: Retention = Retention {
    attempts_per_machine: u32::MAX,
    seconds: 3600,
};

/// A component that trims history to an hour, with a janitor or without.
async fn component(db: &TestDb, janitor_interval: Option<Duration>) -> Bmdb {
    let config = Config::new(db.url())
        .component("janitor")
        .retention(Some(AN_HOUR))
        .janitor_interval(janitor_interval);
    Bmdb::connect(config).await.unwrap()
}

impl Scenario {
    /// Creates machines without planning them.
    async fn unplanned(&self, machines: u32) {
        let insert = format!(
            "INSERT INTO machines (machine_id) SELECT gen_random_uuid() FROM generate_series(1, {machines});
             INSERT INTO machine_provided (machine_id, provider, provider_id)
             SELECT machine_id, 'Equinix', machine_id::text FROM machines
             ON CONFLICT DO NOTHING"
        );
        self.db.run_sql(&insert).await.unwrap();
    }

    /// Makes this session claim every planned and free item.
    async fn hold_everything(&self, holder: SessionId) {
        let hold = format!(
            "UPDATE work_item SET session_id = '{holder}', started_at = clock_timestamp(),
                 fence = nextval('work_fence') WHERE session_id IS NULL"
        );
        self.db.run_sql(&hold).await.unwrap();
    }

    /// Attempts on different machines, each with as many more from the last minute.
    async fn history(&self, old: u32) {
        let insert = format!(
            "INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                                       started_at, ended_at, outcome)
             SELECT machine, f + age, f + age, 'ShepherdAgentStart', machine,
                    clock_timestamp() - age * interval '2 hours',
                    clock_timestamp() - age * interval '2 hours', 'Finished'
             FROM (SELECT gen_random_uuid() AS machine, 2 * nextval('work_fence') AS f
                   FROM generate_series(1, {old})) machines, generate_series(0, 1) AS age"
        );
        self.db.run_sql(&insert).await.unwrap();
    }

    async fn number(&self, count: &str) -> u64 {
        let rows = self.rows(&format!("SELECT {count}")).await;
        rows[0].parse().unwrap()
    }
}
