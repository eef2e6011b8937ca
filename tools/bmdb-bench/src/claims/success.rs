//! Success: machines are claimed, and their attempts finished with a write, one by one or in batches.

use super::bare::Bare;
use super::baseline::Clients;
use super::bench::Bench;
use super::costs::limit;
use super::ways::Way;
use crate::report::{Chart, Line, Row, Target};
use bmdb_shell::Done;
use bmdb_testkit::TestDb;
use std::collections::BTreeMap;

/// Machines at once.
const AT_ONCE: &[u32] = &[1, 16, 64, 200];

/// For `--quick`.
const FEW: &[u32] = &[16];

/// Sizes of batches, each with one task and with four.
const BATCHES: &[u32] = &[100, 500];
const TASKS: &[u32] = &[1, 4];

const SINGLE: [Way; 6] = [
    Way::BareCommits,
    Way::BareStatements,
    Way::Pgbench,
    Way::Hand,
    Way::Runner,
    Way::RunnerClosure,
];

const BATCHED: [Way; 3] = [Way::BareStatements, Way::Pgbench, Way::Hand];

/// For `--quick`: each kind of load once.
const FEW_SINGLE: [Way; 4] = [
    Way::BareStatements,
    Way::Pgbench,
    Way::Runner,
    Way::RunnerClosure,
];
const FEW_BATCHED: [Way; 1] = [Way::Hand];

/// The measurements of one number of machines at once, by round.
struct Series {
    clients: Clients,
    speeds: BTreeMap<Way, Vec<f64>>,
    /// Shares of two bare statements in the same round, in percent.
    shares: BTreeMap<Way, Vec<f64>>,
    failed: Vec<f64>,
    errors: Vec<String>,
    /// The bottleneck of each of our ways, in the last round.
    limits: BTreeMap<Way, String>,
}

pub(super) async fn measure(bench: &mut Bench) -> Done {
    let db = bench.database_with(0).await?;
    let bare = Bare::new(bench).await?;
    let clients = |clients, batch| Clients {
        clients,
        batch,
        seconds: bench.seconds,
    };
    let (single, batched): (Vec<Clients>, Vec<Clients>) = if bench.quick {
        let single = FEW.iter().map(|n| clients(*n, 1)).collect();
        (single, vec![clients(4, 100)])
    } else {
        let tasks = TASKS.iter();
        let batched = tasks.flat_map(|tasks| BATCHES.iter().map(|batch| clients(*tasks, *batch)));
        (
            AT_ONCE.iter().map(|n| clients(*n, 1)).collect(),
            batched.collect(),
        )
    };
    let (singly, in_batches): (&[Way], &[Way]) = match bench.quick {
        true => (&FEW_SINGLE, &FEW_BATCHED),
        false => (&SINGLE, &BATCHED),
    };
    let single = run(bench, (&db, &bare), singly, &single).await?;
    chart(bench, &single);
    let batched = run(bench, (&db, &bare), in_batches, &batched).await?;
    for series in single.into_iter().chain(batched) {
        series.report(bench);
    }
    Ok(())
}

async fn run(
    bench: &mut Bench,
    databases: (&TestDb, &Bare),
    ways: &[Way],
    clients: &[Clients],
) -> Result<Vec<Series>, bmdb_shell::Failure> {
    let mut all: Vec<Series> = clients
        .iter()
        .map(|clients| Series::new(*clients))
        .collect();
    for round in 1..=bench.rounds {
        for series in &mut all {
            eprintln!("success: round {round}, {}", series.named());
            for way in ways {
                series.run(bench, databases, *way, round).await?;
            }
        }
    }
    Ok(all)
}

impl Series {
    fn new(clients: Clients) -> Self {
        Self {
            clients,
            speeds: BTreeMap::new(),
            shares: BTreeMap::new(),
            failed: Vec::new(),
            errors: Vec::new(),
            limits: BTreeMap::new(),
        }
    }

    fn named(&self) -> String {
        let Clients { clients, batch, .. } = self.clients;
        match batch {
            1 => format!("{clients} at once"),
            _ => format!("batches of {batch}, {clients} at once"),
        }
    }

    async fn run(
        &mut self,
        bench: &mut Bench,
        databases: (&TestDb, &Bare),
        way: Way,
        round: u32,
    ) -> Done {
        let Some(measured) = way.run(bench, databases, self.clients).await? else {
            return Ok(());
        };
        let speed = measured.machines_per_second;
        self.speeds.entry(way).or_default().push(speed);
        if way.is_ours() {
            let bare = self.speeds.get(&Way::BareStatements);
            if let Some(bare) = bare.and_then(|speeds| speeds.last()) {
                let share = 100.0 * speed / bare;
                self.shares.entry(way).or_default().push(share);
            }
            let failed = u32::try_from(measured.spent.errors.len()).unwrap_or(u32::MAX);
            self.failed.push(failed.into());
            self.errors.extend(measured.spent.errors.clone());
            self.limits.insert(way, limit(&measured.spent, speed));
        }
        if round == bench.rounds {
            let name = format!("success: {}, {}", way.name(), self.named());
            bench.costs.add(name, measured.spent);
        }
        Ok(())
    }

    /// What was promised of a way, in machines per second or as a share of two bare statements.
    fn promised(&self, way: Way) -> (Option<f64>, Option<f64>) {
        match (way, self.clients.clients, self.clients.batch) {
            (Way::Runner, 1, 1) => (None, Some(60.0)),
            (Way::Runner, 16, 1) => (Some(5_000.0), None),
            (Way::Runner, 200, 1) => (Some(10_000.0), None),
            (Way::Hand, 4, 100) => (Some(12_000.0), None),
            _ => (None, None),
        }
    }

    fn report(self, bench: &mut Bench) {
        let named = self.named();
        let row = |name: &str, unit, samples: &[f64]| {
            Row::new(format!("success: {name}, {named}"), unit, samples.to_vec())
        };
        let promised = |row: Row, least: Option<f64>, way: Way| match least {
            Some(least) => {
                let limit = self.limits.get(&way).cloned().unwrap_or_default();
                row.target(Target::MedianAtLeast(least)).limited_by(limit)
            }
            None => row,
        };
        for (way, speeds) in &self.speeds {
            let (least, least_share) = self.promised(*way);
            let speed = row(way.name(), "/s", speeds);
            bench.report.row(promised(speed, least, *way));
            if let Some(shares) = self.shares.get(way) {
                let name = format!("  share of two bare statements, {}", way.name());
                let share = row(&name, "%", shares);
                bench.report.row(promised(share, least_share, *way));
            }
        }
        let failed = row("  statements that failed", "", &self.failed);
        let errors = self.errors.join("; ");
        bench
            .report
            .row(failed.target(Target::MostAtMost(0.0)).limited_by(errors));
    }
}

fn chart(bench: &mut Bench, all: &[Series]) {
    let median = |samples: &[f64]| Row::new("", "", samples.to_vec()).median();
    let line = |way: &Way| Line {
        name: way.name().to_owned(),
        points: all
            .iter()
            .filter_map(|series| {
                let speeds = series.speeds.get(way)?;
                Some((f64::from(series.clients.clients), median(speeds)))
            })
            .collect(),
    };
    let ways = [
        Way::BareStatements,
        Way::Pgbench,
        Way::Hand,
        Way::Runner,
        Way::RunnerClosure,
    ];
    bench.report.chart(Chart {
        name: "success",
        title: "Machines claimed and finished with a write, one by one",
        x: "machines at once",
        y: "machines per second",
        lines: ways.iter().map(line).collect(),
    });
}
