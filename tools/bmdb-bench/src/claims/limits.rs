//! Limits: the same claims and failures without a limit, with one that is no bottleneck, and with one that is.

use super::bench::Bench;
use super::costs::limit;
use super::load::Loaded;
use crate::report::{Row, Target};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::TestDb;

const WORKERS: &[u32] = &[1, 16, 64];

/// For `--quick`.
const FEW: &[u32] = &[16];

/// The promised share of the unlimited throughput, in percent.
const PROMISED: f64 = 70.0;

/// What limits the process.
#[derive(Debug, Clone, Copy)]
enum Limited {
    Not,
    /// Slots for more machines than there are workers.
    Amply,
    /// Slots for half of the workers.
    Tightly,
}

impl Limited {
    fn sql(self, workers: u32) -> String {
        let slots = match self {
            Self::Not => None,
            Self::Amply => Some(4 * workers),
            Self::Tightly => Some((workers / 2).max(1)),
        };
        let insert = slots.map(|slots| {
            format!(
                "INSERT INTO process_control VALUES ('ShepherdAgentStart');
                 INSERT INTO process_limit (process, per, max_running)
                 VALUES ('ShepherdAgentStart', 'provider', {slots});"
            )
        });
        // The slots go with their limit.
        format!(
            "DELETE FROM process_breaker; DELETE FROM process_limit; DELETE FROM process_control; {}",
            insert.unwrap_or_default()
        )
    }
}

/// The measurements with one number of workers, by round.
#[derive(Default)]
struct Series {
    unlimited: Vec<f64>,
    ample: Vec<f64>,
    shares: Vec<f64>,
    tight: Vec<f64>,
    failed: Vec<f64>,
    errors: Vec<String>,
    /// The bottleneck of the last round with ample slots.
    bottleneck: String,
}

pub(super) async fn measure(bench: &mut Bench) -> Done {
    let db = bench.database().await?;
    let numbers = if bench.quick { FEW } else { WORKERS };
    for &workers in numbers {
        let mut series = Series::default();
        for round in 1..=bench.rounds {
            eprintln!("limits: round {round}, {workers} at once");
            let unlimited = run(bench, &db, workers, Limited::Not).await?;
            let ample = run(bench, &db, workers, Limited::Amply).await?;
            let tight = run(bench, &db, workers, Limited::Tightly).await?;
            series
                .shares
                .push(100.0 * ample.machines_per_second / unlimited.machines_per_second);
            let errors = [ample.spent.errors.clone(), tight.spent.errors.clone()].concat();
            let failed = u32::try_from(errors.len()).unwrap_or(u32::MAX);
            series.failed.push(failed.into());
            series.errors.extend(errors);
            series.bottleneck = limit(&ample.spent, ample.machines_per_second);
            series.unlimited.push(unlimited.machines_per_second);
            series.ample.push(ample.machines_per_second);
            series.tight.push(tight.machines_per_second);
        }
        series.report(bench, workers);
    }
    Ok(())
}

async fn run(
    bench: &Bench,
    db: &TestDb,
    workers: u32,
    limited: Limited,
) -> Result<Loaded, Failure> {
    db.run_sql(&limited.sql(workers))
        .await
        .map_err(Failure::check)?;
    let options = [
        ("workers", workers.to_string()),
        ("shape", "each".to_owned()),
        ("seconds", bench.seconds.to_string()),
    ];
    bench.load.run(db, &bench.server, &options).await
}

impl Series {
    fn report(self, bench: &mut Bench, workers: u32) {
        let row = |name: &str, unit, samples| {
            Row::new(format!("limits: {name}, {workers} at once"), unit, samples)
        };
        let report = &mut bench.report;
        report.row(row("none", "/s", self.unlimited));
        report.row(row("slots for four times the workers", "/s", self.ample));
        let share = row("  share of none", "%", self.shares);
        report.row(
            share
                .target(Target::MedianAtLeast(PROMISED))
                .limited_by(self.bottleneck),
        );
        report.row(row("slots for half of the workers", "/s", self.tight));
        let failed = row("  statements that failed", "", self.failed);
        let errors = self.errors.join("; ");
        report.row(failed.target(Target::MostAtMost(0.0)).limited_by(errors));
    }
}
