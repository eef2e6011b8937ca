//! Costs per machine of each measurement, which show the bottleneck.

use super::counters::Spent;
use crate::report::{Report, Table, cores};

/// In the order of measurement.
#[derive(Debug, Default)]
pub(super) struct Costs(Vec<(String, Spent)>);

const COLUMNS: [&str; 10] = [
    "commits",
    "buffers",
    "WAL, B",
    "WAL records",
    "page images",
    "indexed rows",
    "HOT updates",
    "HOT share, %",
    "server's CPU, µs",
    "clients' CPU, µs",
];

impl Costs {
    pub(super) fn add(&mut self, name: String, spent: Spent) {
        self.0.push((name, spent));
    }

    pub(super) fn add_to(self, report: &mut Report) {
        if self.0.is_empty() {
            return;
        }
        let rows = self.0.into_iter().map(|(name, spent)| {
            let cpu = |cpu: Result<f64, String>| cpu.unwrap_or(f64::NAN);
            let values = vec![
                spent.commits,
                spent.buffers,
                spent.wal_bytes,
                spent.wal_records,
                spent.wal_images,
                spent.indexed_rows,
                spent.hot_updates,
                spent.hot_share,
                cpu(spent.server_cpu),
                cpu(spent.clients_cpu),
            ];
            (name, values)
        });
        report.table(Table {
            title: "Cost of each machine, including autovacuum",
            columns: COLUMNS.to_vec(),
            rows: rows.collect(),
        });
    }
}

/// The bottleneck of a load.
pub(super) fn limit(spent: &Spent, machines_per_second: f64) -> String {
    let busy = |cpu: &Result<f64, String>| {
        let microseconds = cpu.clone().ok()?;
        let cores = f64::from(u32::try_from(cores()).unwrap_or(u32::MAX));
        Some(microseconds * machines_per_second / 1e4 / cores)
    };
    let busy = match (busy(&spent.server_cpu), busy(&spent.clients_cpu)) {
        (Some(server), Some(clients)) => format!(
            "the server used {server:.0} % of all processors and its clients {clients:.0} %; "
        ),
        _ => String::new(),
    };
    format!(
        "{busy}each machine took {:.2} commits, {:.0} B of WAL in {:.1} records, {:.1} rows written \
         into indexes and {:.0} buffers",
        spent.commits, spent.wal_bytes, spent.wal_records, spent.indexed_rows, spent.buffers
    )
}
