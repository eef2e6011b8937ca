//! The fleet that is worked on.

use crate::shell::{Done, Failure};
use bmdb_testkit::TestDb;

/// When machines may be claimed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// All of them, one after the other.
    Now,
    /// None of them yet.
    Tomorrow,
}

/// Makes a fleet of Equinix's machines that need `ShepherdAgentStart`, and lets the server know of
/// it what autovacuum would.
pub(super) async fn fill(db: &TestDb, machines: u32, due: Due) -> Done {
    let since = match due {
        Due::Now => "0 s",
        Due::Tomorrow => "-1 day",
    };
    let fleet = format!(
        "INSERT INTO machines (machine_id) SELECT gen_random_uuid() FROM generate_series(1, {machines});
         INSERT INTO machine_provided (machine_id, provider, provider_id)
         SELECT machine_id, 'Equinix', machine_id::text FROM machines;
         INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at)
         SELECT machine_id, 'ShepherdAgentStart', 'shepherd', 'Equinix', true,
                now() - interval '{since}' - row_number() OVER () * interval '1 ms'
         FROM machines"
    );
    db.run_sql(&fleet).await.map_err(Failure::check)?;
    for table in ["machines", "machine_provided", "work_item", "work_attempt"] {
        let vacuum = format!("VACUUM ANALYZE {table}");
        db.run_sql(&vacuum).await.map_err(Failure::check)?;
    }
    db.run_sql("CHECKPOINT").await.map_err(Failure::check)
}
