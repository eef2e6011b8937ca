//! Batches: one statement claims many machines, and one fails them.

use super::baseline::Clients;
use super::bench::Bench;
use super::capture::End;
use super::costs::limit;
use crate::report::{Row, Target};
use bmdb_shell::Done;
use bmdb_testkit::TestDb;

const BATCHES: &[u32] = &[1, 10, 100, 500];

/// Concurrent workers.
const WORKERS: &[u32] = &[1, 4];

/// The number of workers and the batch size that have a target.
const PROMISED: (u32, u32) = (4, 100);

pub(super) async fn measure(bench: &mut Bench) -> Done {
    let db = bench.database().await?;
    let (workers, batches) = if bench.quick {
        (&WORKERS[1..], &BATCHES[2..3])
    } else {
        (WORKERS, BATCHES)
    };
    for workers in workers {
        for batch in batches {
            measure_one(bench, &db, *workers, *batch).await?;
        }
    }
    Ok(())
}

async fn measure_one(bench: &mut Bench, db: &TestDb, workers: u32, batch: u32) -> Done {
    let of = format!("batches of {batch}, {workers} at once");
    eprintln!("{of}");
    let (mut baselines, mut ours, mut limits) = (Vec::new(), Vec::new(), String::new());
    for round in 1..=bench.rounds {
        let is_last = round == bench.rounds;
        let clients = Clients {
            clients: workers,
            batch,
            seconds: bench.seconds,
        };
        if let Some(measured) = bench.pgbench(db, &[End::Fail], clients).await? {
            baselines.push(measured.machines_per_second);
            if is_last {
                bench.costs.add(format!("pgbench, {of}"), measured.spent);
            }
        }
        let options = [
            ("workers", workers.to_string()),
            ("batch", batch.to_string()),
            ("seconds", bench.seconds.to_string()),
        ];
        let loaded = bench.load.run(db, &bench.server, &options).await?;
        ours.push(loaded.machines_per_second);
        if is_last {
            limits = limit(&loaded.spent, loaded.machines_per_second);
            bench.costs.add(format!("ours, {of}"), loaded.spent);
        }
    }
    if !baselines.is_empty() {
        let baseline = Row::new(format!("pgbench, {of}"), "/s", baselines);
        bench.report.row(baseline);
    }
    let ours = Row::new(format!("ours, {of}"), "/s", ours);
    bench.report.row(if (workers, batch) == PROMISED {
        let promised = Target::MedianAtLeast(25_000.0);
        ours.target(promised).limited_by(limits)
    } else {
        ours
    });
    Ok(())
}
