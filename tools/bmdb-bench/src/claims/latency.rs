//! Latency of claims, with and without maintenance at the same time.

use super::bench::{Bench, SMALL};
use super::counters::number;
use crate::report::Row;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::TestDb;
use std::time::Duration;

/// Creates a session that has just expired with twenty claimed machines.
const DIES: &str = "
    WITH dead AS (
        INSERT INTO sessions (session_id, session_component_name, session_runtime_info,
                              session_interval_seconds, session_deadline)
        VALUES (gen_random_uuid(), 'dead', '', 1, now() - interval '1 second')
        RETURNING session_id
    ), due AS (
        SELECT machine_id, process FROM work_item
        WHERE process = 'ShepherdAgentStart' AND provider = 'Equinix' AND eligible
          AND session_id IS NULL AND ready_at <= now()
        ORDER BY process, provider, ready_at DESC LIMIT 20
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE work_item i
    SET session_id = dead.session_id, started_at = clock_timestamp(), fence = nextval('work_fence')
    FROM due, dead
    WHERE (i.machine_id, i.process) = (due.machine_id, due.process)";

/// Time between two expired sessions.
const PAUSE: Duration = Duration::from_millis(200);

const EXPIRED: &str = "SELECT count(*) FROM work_attempt WHERE outcome = 'Expired'";

#[derive(Default)]
struct Series {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

pub(super) async fn measure(bench: &mut Bench) -> Done {
    // Planning and trimming run all the time.
    let db = bench.database_with(SMALL).await?;
    let workers = ("workers", "4".to_owned());
    let seconds = ("seconds", (3 * bench.seconds).to_string());
    let (mut alone, mut disturbed) = (Series::default(), Series::default());
    let (mut planned, mut trimmed) = (Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        eprintln!("latency: round {round}");
        let options = [workers.clone(), seconds.clone()];
        let loaded = bench.load.run(&db, &bench.server, &options).await?;
        alone.p50.push(loaded.claim_p50_ms);
        alone.p99.push(loaded.claim_p99_ms);
        let options = [workers.clone(), seconds.clone(), ("disturb", String::new())];
        let loaded = tokio::select! {
            loaded = bench.load.run(&db, &bench.server, &options) => loaded?,
            failed = die_again_and_again(&db) => return Err(failed),
        };
        disturbed.p50.push(loaded.claim_p50_ms);
        disturbed.p99.push(loaded.claim_p99_ms);
        planned.push(loaded.planned_per_second);
        trimmed.push(loaded.trimmed_per_second);
    }
    let expired = number(&db, EXPIRED).await?;
    let report = &mut bench.report;
    for (what, series) in [
        ("4 workers", alone),
        ("during planning, trimming, reclaiming", disturbed),
    ] {
        report.row(Row::new(format!("claim, {what}, p50"), "ms", series.p50));
        report.row(Row::new(format!("claim, {what}, p99"), "ms", series.p99));
    }
    for (what, samples) in [
        ("  machines planned", planned),
        ("  attempts trimmed", trimmed),
    ] {
        report.row(Row::new(what, "/s", samples));
    }
    let name = "  machines freed by the janitor";
    report.row(Row::new(name, "", vec![expired]));
    Ok(())
}

/// Returns only if it fails.
async fn die_again_and_again(db: &TestDb) -> Failure {
    loop {
        if let Err(error) = db.run_sql(DIES).await {
            return Failure::check(error);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
