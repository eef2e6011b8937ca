//! Counters of the server before and after a contender has worked.

use crate::cpu;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Server, TestDb};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

const COUNTERS: &str = "
    SELECT (SELECT sum(calls) FROM pg_stat_statements WHERE dbid = d.datid),
           d.xact_commit, w.wal_bytes
    FROM pg_stat_database d, pg_stat_wal w
    WHERE d.datname = current_database()";

/// Other connections to the database.
const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
      AND pid <> pg_backend_pid()";

/// The counters at one moment.
#[derive(Debug)]
pub(super) struct Counters {
    values: Vec<f64>,
    server_cpu: Result<f64, String>,
}

/// What a job cost the server, including autovacuum.
#[derive(Debug, Clone)]
pub(super) struct Spent {
    pub(super) statements: f64,
    pub(super) commits: f64,
    pub(super) wal_bytes: f64,
    /// In microseconds.
    pub(super) server_cpu: Result<f64, String>,
}

impl Counters {
    /// Waits until the contender's connections are closed: a server process reports its counts when it
    /// ends.
    pub(super) async fn read(db: &TestDb, server: &Server) -> Result<Self, Failure> {
        let begun = Instant::now();
        while row(db, OTHERS).await? != [0.0] {
            if begun.elapsed() > Duration::from_secs(30) {
                return Err(Failure::check(
                    "the connections of the contender are still open",
                ));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Self {
            values: row(db, COUNTERS).await?,
            server_cpu: cpu::seconds(server),
        })
    }

    pub(super) fn since(&self, before: &Self, jobs: u32) -> Spent {
        let each = |index: usize| {
            let value = |values: &[f64]| values.get(index).copied().unwrap_or(f64::NAN);
            (value(&self.values) - value(&before.values)) / f64::from(jobs)
        };
        let cpu = |after: &Result<f64, String>, before: &Result<f64, String>| {
            let (after, before) = (after.clone()?, before.clone()?);
            Ok((after - before) * 1e6 / f64::from(jobs))
        };
        Spent {
            statements: each(0),
            commits: each(1),
            wal_bytes: each(2),
            server_cpu: cpu(&self.server_cpu, &before.server_cpu),
        }
    }
}

/// Has the server load pg_stat_statements when it starts again.
pub(super) async fn preload(server: &Server) -> Done {
    let connected = tokio_postgres::connect(server.url(), NoTls).await;
    let (client, connection) = connected.map_err(Failure::check)?;
    tokio::spawn(connection);
    let has_it = "SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements'";
    if client
        .query(has_it, &[])
        .await
        .map_err(Failure::check)?
        .is_empty()
    {
        return Err(Failure::check(
            "the server's installation has no pg_stat_statements: install PostgreSQL's contrib modules",
        ));
    }
    let set = "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'";
    client.batch_execute(set).await.map_err(Failure::check)
}

/// The numbers of a query's only row.
async fn row(db: &TestDb, sql: &str) -> Result<Vec<f64>, Failure> {
    let rows = db.rows(sql).await.map_err(Failure::check)?;
    let row = rows.first().map(String::as_str).unwrap_or_default();
    let values: Result<Vec<f64>, _> = row.split('|').map(str::parse).collect();
    values.map_err(|_| Failure::check(format!("{sql}: {row:?} are not numbers")))
}
