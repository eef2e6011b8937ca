//! Batches: many machines are claimed by one statement, and failed by one.

use super::Bench;
use super::floor::Clients;
use crate::bench::report::{Row, Target};
use crate::shell::Done;

const BATCHES: [u32; 4] = [1, 10, 100, 500];

/// How many work on batches at once.
const WORKERS: [u32; 2] = [1, 4];

/// Of this many machines a batch's speed is promised.
const PROMISED: u32 = 100;

pub(super) async fn measure(bench: &mut Bench) -> Done {
    let db = bench.database().await?;
    for workers in WORKERS {
        for batch in BATCHES {
            eprintln!("batches: of {batch}, {workers} at once");
            let (mut floors, mut ours) = (Vec::new(), Vec::new());
            let mut remarks = Vec::new();
            for _ in 0..bench.rounds {
                let clients = Clients {
                    clients: workers,
                    batch,
                    seconds: bench.seconds,
                };
                remarks.clear();
                if let Ok(floor) = &bench.floor {
                    let floored = floor.run(&db, &bench.server, clients).await?;
                    floors.push(floored.machines_per_second);
                    remarks.push(("pgbench", floored.spent));
                }
                let options = [
                    ("workers", workers.to_string()),
                    ("batch", batch.to_string()),
                    ("seconds", bench.seconds.to_string()),
                ];
                let loaded = bench.load.run(&db, &bench.server, &options).await?;
                ours.push(loaded.machines_per_second);
                remarks.push(("ours", loaded.spent));
            }
            let named = |whose| format!("{whose}, batches of {batch}, {workers} at once");
            let report = &mut bench.report;
            if !floors.is_empty() {
                report.row(Row::new(named("pgbench"), "/s", floors));
            }
            let ours = Row::new(named("ours"), "/s", ours);
            report.row(if batch == PROMISED {
                ours.target(Target::MedianAtLeast(30_000.0))
            } else {
                ours
            });
            for (whose, spent) in remarks {
                report.remark(format!("{}: {spent}", named(whose)));
            }
        }
    }
    Ok(())
}
