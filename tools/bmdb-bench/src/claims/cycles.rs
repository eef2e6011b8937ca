//! Cycles: workers claim and fail one machine at a time, with growing numbers of workers.

use super::baseline::Clients;
use super::bench::Bench;
use super::capture::End;
use super::costs::limit;
use super::load::Loaded;
use crate::report::{Chart, Line, Row, Target};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::TestDb;

/// Numbers of workers.
const WORKERS: &[u32] = &[1, 4, 16, 64];

/// Numbers of workers for `--quick`.
const FEW: &[u32] = &[16];

/// The numbers of workers that have a target, as a share of the baseline.
const PROMISED: [u32; 2] = [1, 16];

/// The workers of one loop that have a target.
const OF_ONE_LOOP: u32 = 16;

const BASELINE: &str = "pgbench";
const EACH: &str = "each claims for itself";
const LOOP: &str = "one loop claims for all";

/// The measurements with one number of workers, by round.
#[derive(Default)]
struct Series {
    baseline: Vec<f64>,
    each: Vec<f64>,
    one_loop: Vec<f64>,
    shares: Vec<f64>,
    errors: Vec<String>,
    failed: Vec<f64>,
    empty: Vec<f64>,
    /// The bottleneck of the last round.
    limits: [String; 2],
}

pub(super) async fn measure(bench: &mut Bench) -> Done {
    let db = bench.database().await?;
    let numbers = if bench.quick { FEW } else { WORKERS };
    let new = |workers: &u32| (*workers, Series::default());
    let mut all: Vec<(u32, Series)> = numbers.iter().map(new).collect();
    for round in 1..=bench.rounds {
        for (workers, series) in &mut all {
            eprintln!("cycles: round {round}, {}", named(*workers));
            series.baseline(bench, &db, *workers, round).await?;
            series.each(bench, &db, *workers, round).await?;
            series.one_loop(bench, &db, *workers, round).await?;
        }
    }
    if let Err(why) = &bench.baseline {
        bench.report.not_measured("the baseline", why);
    }
    let median = |samples: &[f64]| Row::new("", "", samples.to_vec()).median();
    let line = |name: &str, of: fn(&Series) -> &Vec<f64>| Line {
        name: name.to_owned(),
        points: all
            .iter()
            .filter(|(_, series)| !of(series).is_empty())
            .map(|(workers, series)| (f64::from(*workers), median(of(series))))
            .collect(),
    };
    bench.report.chart(Chart {
        name: "cycles",
        title: "Machines claimed and failed one by one",
        x: "workers",
        y: "cycles per second",
        lines: vec![
            line("pgbench, the same statements", |series| &series.baseline),
            line(EACH, |series| &series.each),
            line(LOOP, |series| &series.one_loop),
        ],
    });
    for (workers, series) in all {
        series.report(bench, workers);
    }
    Ok(())
}

impl Series {
    async fn baseline(&mut self, bench: &mut Bench, db: &TestDb, clients: u32, round: u32) -> Done {
        let clients = Clients {
            clients,
            batch: 1,
            seconds: bench.seconds,
        };
        let Some(measured) = bench.pgbench(db, &[End::Fail], clients).await? else {
            return Ok(());
        };
        self.baseline.push(measured.machines_per_second);
        if round == bench.rounds {
            let name = format!("{BASELINE}, {}", named(clients.clients));
            bench.costs.add(name, measured.spent);
        }
        Ok(())
    }

    async fn each(&mut self, bench: &mut Bench, db: &TestDb, workers: u32, round: u32) -> Done {
        let loaded = ours(bench, db, workers, "each").await?;
        if let Some(baseline) = self.baseline.last() {
            let share = 100.0 * loaded.machines_per_second / baseline;
            self.shares.push(share);
        }
        self.each.push(loaded.machines_per_second);
        self.keep(bench, loaded, 0, (EACH, workers, round));
        Ok(())
    }

    async fn one_loop(&mut self, bench: &mut Bench, db: &TestDb, workers: u32, round: u32) -> Done {
        let loaded = ours(bench, db, workers, "loop").await?;
        self.one_loop.push(loaded.machines_per_second);
        self.keep(bench, loaded, 1, (LOOP, workers, round));
        Ok(())
    }

    fn keep(
        &mut self,
        bench: &mut Bench,
        loaded: Loaded,
        at: usize,
        (shape, workers, round): (&str, u32, u32),
    ) {
        let failed = u32::try_from(loaded.spent.errors.len()).unwrap_or(u32::MAX);
        self.failed.push(failed.into());
        self.errors.extend(loaded.spent.errors.clone());
        self.empty.push(loaded.empty_claims);
        self.limits[at] = limit(&loaded.spent, loaded.machines_per_second);
        if round == bench.rounds {
            let name = format!("{shape}, {}", named(workers));
            bench.costs.add(name, loaded.spent);
        }
    }

    fn report(self, bench: &mut Bench, workers: u32) {
        let row = |name: &str, unit, samples| {
            Row::new(format!("{name}, {}", named(workers)), unit, samples)
        };
        let report = &mut bench.report;
        if !self.baseline.is_empty() {
            report.row(row(BASELINE, "/s", self.baseline));
        }
        let [each, one_loop] = self.limits;
        report.row(row(EACH, "/s", self.each));
        if !self.shares.is_empty() {
            let share = row("  share of pgbench's", "%", self.shares);
            report.row(if PROMISED.contains(&workers) {
                share.target(Target::MedianAtLeast(90.0)).limited_by(each)
            } else {
                share
            });
        }
        let fast = row(LOOP, "/s", self.one_loop);
        report.row(if workers == OF_ONE_LOOP {
            let promised = Target::MedianAtLeast(6_700.0);
            fast.target(promised).limited_by(one_loop)
        } else {
            fast
        });
        let failed = row("  statements that failed", "", self.failed);
        let errors = self.errors.join("; ");
        report.row(failed.target(Target::MostAtMost(0.0)).limited_by(errors));
        report.row(row("  empty claims", "", self.empty));
    }
}

async fn ours(bench: &Bench, db: &TestDb, workers: u32, shape: &str) -> Result<Loaded, Failure> {
    let options = [
        ("workers", workers.to_string()),
        ("shape", shape.to_owned()),
        ("seconds", bench.seconds.to_string()),
    ];
    bench.load.run(db, &bench.server, &options).await
}

fn named(workers: u32) -> String {
    format!("{workers} worker{}", if workers == 1 { "" } else { "s" })
}
