//! Fleet of machines to claim.

use bmdb_shell::{Done, Failure};
use bmdb_testkit::TestDb;

/// When machines are due.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// All of them are due.
    Now,
    /// None of them is due yet.
    Tomorrow,
}

/// Creates a fleet after a checkpoint. After one, the first change of each page writes the whole page into the
/// log, more than the change itself: the first measurement would pay for it, and not the others.
pub(super) async fn fill(db: &TestDb, machines: u32, due: Due) -> Done {
    db.run_sql("CHECKPOINT").await.map_err(Failure::check)?;
    add(db, machines, due).await
}

/// Adds machines that need `ShepherdAgentStart`, and runs VACUUM ANALYZE as autovacuum would.
pub(super) async fn add(db: &TestDb, machines: u32, due: Due) -> Done {
    let since = match due {
        Due::Now => "0 s",
        Due::Tomorrow => "-1 day",
    };
    let fleet = format!(
        "WITH new AS (
             INSERT INTO machines (machine_id)
             SELECT gen_random_uuid() FROM generate_series(1, {machines}) RETURNING machine_id
         ), provided AS (
             INSERT INTO machine_provided (machine_id, provider, provider_id)
             SELECT machine_id, 'Equinix', machine_id::text FROM new
         )
         INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at)
         SELECT machine_id, 'ShepherdAgentStart', 'shepherd', 'Equinix', true,
                now() - interval '{since}' - row_number() OVER () * interval '1 ms'
         FROM new"
    );
    db.run_sql(&fleet).await.map_err(Failure::check)?;
    for table in ["machines", "machine_provided", "work_item", "work_attempt"] {
        let vacuum = format!("VACUUM ANALYZE {table}");
        db.run_sql(&vacuum).await.map_err(Failure::check)?;
    }
    Ok(())
}
