//! Cycles: one machine is claimed and failed, by more and more workers at once.

use super::Bench;
use super::counters::Spent;
use super::floor::Clients;
use crate::bench::report::{Row, Target};
use crate::shell::Done;

/// How many workers claim at once.
const WORKERS: [u32; 4] = [1, 4, 16, 64];

/// At these the floor's share is promised.
const PROMISED: [u32; 2] = [1, 16];

/// The workers of one loop.
const OF_ONE_LOOP: u32 = 16;

/// What was measured with a number of workers, in rounds.
#[derive(Default)]
struct Series {
    floor: Vec<f64>,
    each: Vec<f64>,
    one_loop: Vec<f64>,
    shares: Vec<f64>,
    failed: Vec<f64>,
    floor_spent: Option<Spent>,
    spent: Option<Spent>,
    loop_spent: Option<Spent>,
}

pub(super) async fn measure(bench: &mut Bench) -> Done {
    let db = bench.database().await?;
    let mut all: Vec<(u32, Series)> = Vec::new();
    for workers in WORKERS {
        all.push((workers, Series::default()));
    }
    for round in 1..=bench.rounds {
        for (workers, series) in &mut all {
            eprintln!("cycles: round {round}, {workers} workers");
            let seconds = ("seconds", bench.seconds.to_string());
            let clients = Clients {
                clients: *workers,
                batch: 1,
                seconds: bench.seconds,
            };
            if let Ok(floor) = &bench.floor {
                let floored = floor.run(&db, &bench.server, clients).await?;
                series.floor.push(floored.machines_per_second);
                series.floor_spent = Some(floored.spent);
            }
            let workers = ("workers", workers.to_string());
            let each = [workers.clone(), seconds.clone()];
            let loaded = bench.load.run(&db, &bench.server, &each).await?;
            if let Some(floor) = series.floor.last() {
                series
                    .shares
                    .push(100.0 * loaded.machines_per_second / floor);
            }
            series.each.push(loaded.machines_per_second);
            series.failed.push(loaded.spent.rolled_back);
            series.spent = Some(loaded.spent);
            let one_loop = [workers, seconds, ("shape", "loop".to_owned())];
            let loaded = bench.load.run(&db, &bench.server, &one_loop).await?;
            series.one_loop.push(loaded.machines_per_second);
            series.failed.push(loaded.spent.rolled_back);
            series.loop_spent = Some(loaded.spent);
        }
    }
    for (workers, series) in all {
        report(bench, workers, series);
    }
    Ok(())
}

fn report(bench: &mut Bench, workers: u32, series: Series) {
    let named = |what: &str| format!("{what}, {workers} workers");
    let report = &mut bench.report;
    if let Err(why) = &bench.floor {
        report.not_measured(named("pgbench"), why);
    } else {
        report.row(Row::new(named("pgbench"), "/s", series.floor));
    }
    report.row(Row::new(named("each claims for itself"), "/s", series.each));
    let one_loop = Row::new(named("one loop claims for all"), "/s", series.one_loop);
    report.row(if workers == OF_ONE_LOOP {
        one_loop.target(Target::MedianAtLeast(6_700.0))
    } else {
        one_loop
    });
    if !series.shares.is_empty() {
        let share = Row::new(named("  share of pgbench's"), "%", series.shares);
        report.row(if PROMISED.contains(&workers) {
            share.target(Target::MedianAtLeast(90.0))
        } else {
            share
        });
    }
    let failed = Row::new(named("  transactions rolled back"), "", series.failed);
    report.row(failed.target(Target::MedianAtMost(0.0)));
    for (what, spent) in [
        ("pgbench", series.floor_spent),
        ("each claims for itself", series.spent),
        ("one loop claims for all", series.loop_spent),
    ] {
        if let Some(spent) = spent {
            report.remark(format!("{}: {spent}", named(what)));
        }
    }
}
