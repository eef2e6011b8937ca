//! Growth of tables and indexes over a million cycles.

use super::bench::Bench;
use crate::report::{Row, Table};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::TestDb;

const SIZES: &str = "SELECT pg_relation_size('work_item'), pg_relation_size('work_item_pkey'),
        pg_relation_size('work_item_due'), pg_relation_size('work_item_lane'),
        pg_relation_size('work_item_backoff'), pg_relation_size('work_attempt'),
        pg_relation_size('work_attempt_pkey'), pg_relation_size('work_attempt_session')";

const COLUMNS: [&str; 8] = [
    "work_item, MB",
    "its primary key",
    "its queue",
    "its lanes",
    "its backoffs",
    "work_attempt, MB",
    "its primary key",
    "by session",
];

/// The leading columns, which grow only until vacuum runs.
const OF_ITEMS: usize = 5;

/// Whether every attempt is recorded, or repeated failures are folded.
#[derive(Clone, Copy)]
enum History {
    Full,
    Folded,
}

pub(super) async fn measure(bench: &mut Bench) -> Done {
    let (cycles, steps) = if bench.quick {
        (5_000, 2)
    } else {
        (1_000_000, 10)
    };
    for history in [History::Full, History::Folded] {
        let db = bench.database().await?;
        let title = match history {
            History::Full => "Growth while every attempt is recorded",
            History::Folded => "Growth while repeated failures are folded",
        };
        let mut speeds = Vec::new();
        let mut rows = vec![("0 cycles".to_owned(), sizes(&db).await?)];
        for step in 1..=steps {
            let done = cycles / steps * step;
            eprintln!("growth: {done} cycles of {cycles}");
            let mut options = vec![
                ("workers", "2".to_owned()),
                ("batch", "500".to_owned()),
                ("machines", (cycles / steps).to_string()),
            ];
            if matches!(history, History::Folded) {
                options.push(("fold", String::new()));
            }
            let loaded = bench.load.run(&db, &bench.server, &options).await?;
            speeds.push(loaded.machines_per_second);
            rows.push((format!("{done} cycles"), sizes(&db).await?));
        }
        let name = format!("{title}: batches of 500, 2 at once");
        bench.report.row(Row::new(name, "/s", speeds));
        let items = |(_, sizes): &(String, Vec<f64>)| sizes.iter().take(OF_ITEMS).sum::<f64>();
        if let (Some(middle), Some(last)) = (rows.get(rows.len() / 2), rows.last()) {
            let name = format!("{title}: work_item and its indexes, second half");
            let growth = 100.0 * (items(last) / items(middle) - 1.0);
            bench.report.row(Row::new(name, "%", vec![growth]));
        }
        bench.report.table(Table {
            title,
            columns: COLUMNS.to_vec(),
            rows,
        });
    }
    Ok(())
}

/// Size in megabytes.
async fn sizes(db: &TestDb) -> Result<Vec<f64>, Failure> {
    let rows = db.rows(SIZES).await.map_err(Failure::check)?;
    let row = rows.first().map(String::as_str).unwrap_or_default();
    let bytes: Result<Vec<f64>, _> = row.split('|').map(str::parse::<f64>).collect();
    let bytes = bytes.map_err(|_| Failure::check(format!("sizes: {row:?}")))?;
    Ok(bytes.into_iter().map(|bytes| bytes / 1e6).collect())
}
