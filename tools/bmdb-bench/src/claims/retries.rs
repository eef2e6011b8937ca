//! Retries: every machine fails once, rests for a second, and then succeeds.

use super::baseline::Clients;
use super::bench::{Bench, SMALL};
use super::capture::End;
use super::costs::limit;
use crate::report::{Row, Target};
use bmdb_shell::Done;

/// Machines at once.
const AT_ONCE: u32 = 16;

/// So many that the first ones are due again before the last ones have failed.
const MACHINES: u32 = 20_000;

pub(super) async fn measure(bench: &mut Bench) -> Done {
    let (machines, due) = match bench.quick {
        true => (500, SMALL / 5),
        false => (MACHINES, SMALL),
    };
    let of = format!("failed once, then finished, {AT_ONCE} at once");
    let clients = Clients {
        clients: AT_ONCE,
        batch: 1,
        seconds: bench.seconds,
    };
    let (mut baselines, mut ours, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    let (mut failed, mut errors, mut limits) = (Vec::new(), Vec::new(), String::new());
    for round in 1..=bench.rounds {
        eprintln!("retries: round {round}");
        let is_last = round == bench.rounds;
        let db = bench.database_with(due).await?;
        let ends = [End::Fail, End::Tags];
        let measured = bench.pgbench(&db, &ends, clients).await?;
        // The warm-up finishes some of them too.
        let db = bench.database_with(machines + 10 * AT_ONCE).await?;
        let options = [
            ("workers", AT_ONCE.to_string()),
            ("shape", "runner".to_owned()),
            ("end", "retry".to_owned()),
            ("connections", "10".to_owned()),
            ("machines", machines.to_string()),
        ];
        let loaded = bench.load.run(&db, &bench.server, &options).await?;
        let speed = loaded.machines_per_second;
        ours.push(speed);
        failed.push(u32::try_from(loaded.spent.errors.len()).map_or(f64::MAX, f64::from));
        errors.extend(loaded.spent.errors.clone());
        limits = limit(&loaded.spent, speed);
        if let Some(measured) = measured {
            baselines.push(measured.machines_per_second);
            shares.push(100.0 * speed / measured.machines_per_second);
            if is_last {
                bench.costs.add(format!("pgbench, {of}"), measured.spent);
            }
        }
        if is_last {
            bench.costs.add(format!("runner, {of}"), loaded.spent);
        }
    }
    if !baselines.is_empty() {
        let row = Row::new(
            format!("the same statements, pgbench, {of}"),
            "/s",
            baselines,
        );
        bench.report.row(row);
    }
    let promised = Target::MedianAtLeast(5_000.0);
    let row = Row::new(format!("runner, {of}"), "/s", ours);
    bench.report.row(row.target(promised).limited_by(limits));
    if !shares.is_empty() {
        let name = format!("  share of pgbench's, {of}");
        bench.report.row(Row::new(name, "%", shares));
    }
    let row = Row::new(format!("  statements that failed, {of}"), "", failed);
    let row = row.target(Target::MostAtMost(0.0));
    bench.report.row(row.limited_by(errors.join("; ")));
    Ok(())
}
