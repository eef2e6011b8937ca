//! Counters of the server before and after a load.

use crate::cpu;
use bmdb_shell::Failure;
use bmdb_testkit::{Server, TestDb};
use std::time::{Duration, Instant};

const COUNTERS: &str = "
    SELECT f.last_value, d.xact_commit, d.blks_hit + d.blks_read,
           w.wal_records, w.wal_fpi, w.wal_bytes,
           t.n_tup_ins, t.n_tup_upd, t.n_tup_hot_upd
    FROM pg_stat_database d, pg_stat_wal w, work_fence f,
         (SELECT sum(n_tup_ins) AS n_tup_ins, sum(n_tup_upd) AS n_tup_upd,
                 sum(n_tup_hot_upd) AS n_tup_hot_upd
          FROM pg_stat_user_tables) t
    WHERE d.datname = current_database()";

const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
      AND pid <> pg_backend_pid()";

/// What a server process says whose client is gone.
const LEFT: &str = "connection to client lost";

/// The counters at one moment.
#[derive(Debug, Clone)]
pub(super) struct Counters {
    values: Vec<f64>,
    server_cpu: Result<f64, String>,
    clients_cpu: Result<f64, String>,
    /// Counted in the server's log.
    errors: Vec<String>,
}

/// What a claim and an end cost per machine, including autovacuum.
#[derive(Debug, Clone)]
pub(super) struct Spent {
    /// Errors in the server's log, including serialization failures and deadlocks.
    pub(super) errors: Vec<String>,
    pub(super) commits: f64,
    pub(super) buffers: f64,
    pub(super) wal_records: f64,
    /// Images of complete pages, after a checkpoint.
    pub(super) wal_images: f64,
    pub(super) wal_bytes: f64,
    /// New rows and updates that are not HOT, which write all indexes; of all tables.
    pub(super) indexed_rows: f64,
    pub(super) hot_updates: f64,
    /// The share of HOT updates in all updates, in percent.
    pub(super) hot_share: f64,
    /// In microseconds, as the next field.
    pub(super) server_cpu: Result<f64, String>,
    pub(super) clients_cpu: Result<f64, String>,
}

impl Counters {
    /// Waits until the load's connections are closed: a server process reports its counts when it ends.
    pub(super) async fn read(db: &TestDb, server: &Server) -> Result<Self, Failure> {
        let begun = Instant::now();
        while number(db, OTHERS).await? > 0.0 {
            if begun.elapsed() > Duration::from_secs(30) {
                return Err(Failure::check("the connections of the load are still open"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let row = db.rows(COUNTERS).await.map_err(Failure::check)?;
        let row = row.first().map(String::as_str).unwrap_or_default();
        let values: Result<Vec<f64>, _> = row.split('|').map(str::parse).collect();
        Ok(Self {
            values: values.map_err(|_| Failure::check(format!("counters: {row:?}")))?,
            server_cpu: cpu::seconds(server),
            clients_cpu: cpu::seconds_of_ended_children(),
            errors: errors(server)?,
        })
    }

    /// What each machine has cost; `machines` says how many there were after so many claims.
    pub(super) fn since(&self, before: &Self, machines: impl FnOnce(f64) -> f64) -> Spent {
        let spent: Vec<f64> = self
            .values
            .iter()
            .zip(&before.values)
            .map(|(after, before)| after - before)
            .collect();
        let at = |index: usize| spent.get(index).copied().unwrap_or(f64::NAN);
        let machines = machines(at(0));
        let each = |index: usize| at(index) / machines;
        let cpu = |after: &Result<f64, String>, before: &Result<f64, String>| {
            let (after, before) = (after.clone()?, before.clone()?);
            Ok((after - before) * 1e6 / machines)
        };
        Spent {
            errors: self
                .errors
                .get(before.errors.len()..)
                .unwrap_or_default()
                .to_vec(),
            commits: each(1),
            buffers: each(2),
            wal_records: each(3),
            wal_images: each(4),
            wal_bytes: each(5),
            indexed_rows: each(6) + each(7) - each(8),
            hot_updates: each(8),
            hot_share: 100.0 * at(8) / at(7),
            server_cpu: cpu(&self.server_cpu, &before.server_cpu),
            clients_cpu: cpu(&self.clients_cpu, &before.clients_cpu),
        }
    }
}

fn errors(server: &Server) -> Result<Vec<String>, Failure> {
    let not_ours = || Failure::check("this process did not boot the server");
    let log = server.folder().ok_or_else(not_ours)?.join("log");
    let log = std::fs::read_to_string(log).map_err(Failure::check)?;
    let errors = log.lines().filter(|line| {
        let levels = ["ERROR:  ", "FATAL:  ", "PANIC:  "];
        // A program that has ended leaves its connections, also those that just run a background statement.
        levels.iter().any(|level| line.contains(level)) && !line.contains(LEFT)
    });
    Ok(errors.map(str::to_owned).collect())
}

/// The number that a query returns.
pub(super) async fn number(db: &TestDb, sql: &str) -> Result<f64, Failure> {
    let rows = db.rows(sql).await.map_err(Failure::check)?;
    let first = rows.first().map(String::as_str).unwrap_or_default();
    first
        .parse()
        .map_err(|_| Failure::check(format!("{sql}: {first:?} is not a number")))
}
