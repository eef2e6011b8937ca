//! Buffers: pages that a poll and a claim touch, by size of the fleet.

use super::bench::Bench;
use super::fleet;
use crate::report::{Chart, Line, Row, Target};
use bmdb_model::internal::connection::plan_once_sql;
use bmdb_model::internal::work::CLAIM;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::TestDb;
use serde_json::Value;
use std::time::Duration;

const FLEETS: &[u32] = &[1_000, 10_000, 100_000, 1_000_000];

/// Makes machines due after the idle poll was measured.
const DUE: &str = "UPDATE work_item SET plan_at = now() - interval '1 minute'
    WHERE machine_id IN (SELECT machine_id FROM machines ORDER BY machine_id LIMIT 500)";

/// Machines of the larger claim.
const BATCH: u32 = 100;

/// Each series with its target.
const SERIES: [(&str, Option<f64>); 4] = [
    ("idle poll, search for due machines", Some(5.0)),
    ("idle poll, complete statement", None),
    ("claim of one machine", Some(40.0)),
    ("claim of a hundred, each", None),
];

pub(super) async fn measure(bench: &mut Bench) -> Done {
    let fleets = if bench.quick { &FLEETS[..2] } else { FLEETS };
    let mut counted: Vec<(u32, [f64; 4])> = Vec::new();
    for machines in fleets {
        eprintln!("buffers: a fleet of {machines}");
        let db = TestDb::on(&bench.server).await.map_err(Failure::check)?;
        counted.push((*machines, of_fleet(&db, *machines).await?));
    }
    for (at, (name, most)) in SERIES.into_iter().enumerate() {
        for (machines, buffers) in &counted {
            let row = Row::new(
                format!("{name}, {machines} machines"),
                "buffers",
                vec![buffers[at]],
            );
            bench.report.row(match most {
                Some(most) => row.target(Target::MedianAtMost(most)),
                None => row,
            });
        }
    }
    let lines = SERIES.iter().enumerate().map(|(at, (name, _))| Line {
        name: (*name).to_owned(),
        points: counted
            .iter()
            .map(|(machines, buffers)| (f64::from(*machines), buffers[at]))
            .collect(),
    });
    bench.report.chart(Chart {
        name: "buffers",
        title: "Buffers of 8 KiB that a poll and a claim touch",
        x: "machines in the fleet",
        y: "buffers",
        lines: lines.collect(),
    });
    Ok(())
}

async fn of_fleet(db: &TestDb, machines: u32) -> Result<[f64; 4], Failure> {
    fleet::fill(db, machines, fleet::Due::Tomorrow).await?;
    let poll = explain(db, 1).await?;
    let look = find(&poll, "CTE candidate");
    let look = look.ok_or_else(|| Failure::check(format!("no candidate in {poll}")))?;
    db.run_sql(DUE).await.map_err(Failure::check)?;
    db.run_sql("VACUUM ANALYZE work_item")
        .await
        .map_err(Failure::check)?;
    Ok([
        buffers(look),
        buffers(&poll),
        buffers(&explain(db, 1).await?),
        buffers(&explain(db, BATCH).await?) / f64::from(BATCH),
    ])
}

/// Explains the third claim on a connection and rolls all of them back. The first ones also read the
/// catalog.
async fn explain(db: &TestDb, limit: u32) -> Result<Value, Failure> {
    let session = db.session(Duration::from_secs(3600)).await;
    let session = session.map_err(Failure::check)?;
    let execute =
        format!("EXECUTE claim ('ShepherdAgentStart', 'Equinix', NULL, '{session}', {limit});");
    let sql = format!(
        "{} PREPARE claim AS {CLAIM}; BEGIN; {execute} {execute} ROLLBACK;
         BEGIN; EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {execute} ROLLBACK",
        plan_once_sql()
    );
    let rows = db.rows(&sql).await.map_err(Failure::check)?;
    let printed = rows.iter().find(|row| row.starts_with('['));
    let printed: Value = printed
        .and_then(|printed| serde_json::from_str(printed).ok())
        .ok_or_else(|| Failure::check("the server did not explain the statement"))?;
    Ok(printed[0]["Plan"].clone())
}

fn buffers(node: &Value) -> f64 {
    let kinds = ["Shared Hit Blocks", "Shared Read Blocks"];
    kinds.iter().filter_map(|kind| node[kind].as_f64()).sum()
}

/// The part of a plan with this name.
fn find<'p>(plan: &'p Value, name: &str) -> Option<&'p Value> {
    let mut parts = vec![plan];
    while let Some(part) = parts.pop() {
        if part["Subplan Name"] == name {
            return Some(part);
        }
        parts.extend(part["Plans"].as_array().into_iter().flatten());
    }
    None
}
