//! Anatomy of a success: what each statement of a claim and a finish costs, and what they write into each
//! table and index, in a database where nothing else happens.
//!
//! It has a server of its own, because counting statements slows them down.

use super::bench::Bench;
use super::capture::{End, end_all};
use super::counters::number;
use super::fleet;
use super::wal::{self, Wal};
use crate::report::{Row, Table};
use bmdb_core::{Bmdb, Claim, Config, HistoryDetail, Session, SessionOptions};
use bmdb_model::{Process, Provider};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Profile, Server, TestDb};
use std::sync::Arc;
use std::time::Duration;

/// Claims before the measurement: the server tries five plans before it keeps one.
const WARM_UP: u32 = 8;

const AVAILABLE: &str =
    "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_stat_statements'";

const STATEMENTS: &str = "
    SELECT calls, total_plan_time * 1000, total_exec_time * 1000, shared_blks_hit + shared_blks_read,
           shared_blks_dirtied, wal_records, wal_bytes,
           regexp_replace(regexp_replace(query, '^(\\s*--[^\\n]*\\n)+', ''), '\\s+', ' ', 'g')
    FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND query !~ 'pg_stat_statements|pg_current_wal' AND calls > 0
    ORDER BY total_plan_time + total_exec_time DESC";

const COLUMNS: [&str; 7] = [
    "statements",
    "planning, µs",
    "execution, µs",
    "buffers",
    "pages made dirty",
    "WAL records",
    "WAL, B",
];

/// How machines succeed.
#[derive(Debug, Clone, Copy)]
struct How {
    name: &'static str,
    end: End,
    batch: u32,
    /// The titles of its tables.
    statements: &'static str,
    writes: &'static str,
}

const HOWS: [How; 3] = [
    How {
        name: "typed write",
        end: End::Tags,
        batch: 1,
        statements: "Statements of a success with a typed write, per machine",
        writes: "What a success with a typed write adds to the log, per machine",
    },
    How {
        name: "closure",
        end: End::Closure,
        batch: 1,
        statements: "Statements of a success with a closure, per machine",
        writes: "What a success with a closure adds to the log, per machine",
    },
    How {
        name: "typed writes, batch of 100",
        end: End::Tags,
        batch: 100,
        statements: "Statements of a success in a batch of 100, per machine",
        writes: "What a success in a batch of 100 adds to the log, per machine",
    },
];

pub(super) async fn measure(bench: &mut Bench) -> Done {
    let server = match counting_server(bench).await? {
        Ok(server) => Arc::new(server),
        Err(why) => {
            bench.report.not_measured("anatomy of a success", why);
            return Ok(());
        }
    };
    let hows = if bench.quick { &HOWS[2..] } else { &HOWS };
    for how in hows {
        eprintln!("anatomy: {}", how.name);
        of(bench, &server, *how).await?;
    }
    Ok(())
}

/// A server with `pg_stat_statements`, or why there is none.
async fn counting_server(bench: &Bench) -> Result<Result<Server, String>, Failure> {
    let server = Server::boot(&bench.installation, Profile::Durable).map_err(Failure::check)?;
    let server = Arc::new(server);
    let db = TestDb::on(&server).await.map_err(Failure::check)?;
    if number(&db, AVAILABLE).await? == 0.0 {
        return Ok(Err("the server has no pg_stat_statements".to_owned()));
    }
    for sql in [
        "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'",
        // Nothing else writes while a success is measured, and only rows and entries are written.
        "ALTER SYSTEM SET autovacuum = off",
        "ALTER SYSTEM SET full_page_writes = off",
        // The log is read afterwards.
        "ALTER SYSTEM SET wal_keep_size = '1GB'",
        "CHECKPOINT",
    ] {
        db.run_sql(sql).await.map_err(Failure::check)?;
    }
    drop(db);
    let server = Arc::into_inner(server).ok_or_else(|| Failure::check("the server is in use"))?;
    server.kill9().map_err(Failure::check)?;
    server.restart().map_err(Failure::check)?;
    Ok(Ok(server))
}

async fn of(bench: &mut Bench, server: &Arc<Server>, how: How) -> Done {
    let rounds = match (how.batch, bench.quick) {
        (1, false) => 200,
        (_, false) => 20,
        (1, true) => 5,
        (_, true) => 1,
    };
    let db = TestDb::on(server).await.map_err(Failure::check)?;
    let planning = format!(
        "ALTER DATABASE {} SET pg_stat_statements.track_planning = on",
        db.name()
    );
    for sql in ["CREATE EXTENSION pg_stat_statements", &planning] {
        db.run_sql(sql).await.map_err(Failure::check)?;
    }
    let machines = (WARM_UP + rounds) * how.batch + 1_000;
    fleet::fill(&db, machines, fleet::Due::Now).await?;
    let config = Config::new(db.url()).component("anatomy").pool_size(1);
    let config = config.janitor_interval(None).history(HistoryDetail::Full);
    let bmdb = Bmdb::connect(config).await.map_err(Failure::check)?;
    // No heartbeat in the meantime.
    let options = SessionOptions::default().interval(Duration::from_secs(120));
    let session = bmdb.start_session(options).await.map_err(Failure::check)?;
    succeed(&session, how, WARM_UP).await?;
    let reset = "SELECT pg_stat_statements_reset()";
    db.run_sql(reset).await.map_err(Failure::check)?;
    let from = wal::position(&db).await?;
    succeed(&session, how, rounds).await?;
    let to = wal::position(&db).await?;
    let statements = db.rows(STATEMENTS).await.map_err(Failure::check)?;
    let each = f64::from(rounds * how.batch);
    session.close().await.map_err(Failure::check)?;
    table_of_statements(bench, how, &statements, each)?;
    match wal::between(&bench.installation, server, &db, &from, &to).await? {
        Ok(wal) => table_of_writes(bench, how, &wal, each),
        Err(why) => bench.report.not_measured(how.writes, why),
    }
    Ok(())
}

async fn succeed(session: &Session, how: How, rounds: u32) -> Done {
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START).provider(&Provider::EQUINIX);
    for _ in 0..rounds {
        let claimed = session.claim(&claim.clone().limit(how.batch)).await;
        let claimed = claimed.map_err(Failure::check)?;
        end_all(session, how.end, claimed).await?;
    }
    Ok(())
}

fn table_of_statements(bench: &mut Bench, how: How, rows: &[String], each: f64) -> Done {
    let mut total = vec![0.0; COLUMNS.len()];
    let mut table = Vec::new();
    for row in rows {
        let mut fields = row.splitn(COLUMNS.len() + 1, '|');
        let values: Result<Vec<f64>, _> = fields
            .by_ref()
            .take(COLUMNS.len())
            .map(|field| field.parse::<f64>().map(|value| value / each))
            .collect();
        let values = values.map_err(|_| Failure::check(format!("statement: {row:?}")))?;
        for (sum, value) in total.iter_mut().zip(&values) {
            *sum += value;
        }
        table.push((brief(fields.next().unwrap_or_default()), values));
    }
    let of = |at: usize| vec![total.get(at).copied().unwrap_or(f64::NAN)];
    for (name, unit, at) in [
        ("statements", "", 0),
        ("planning", "µs", 1),
        ("execution", "µs", 2),
    ] {
        let name = format!("success, {}: {name} per machine", how.name);
        bench.report.row(Row::new(name, unit, of(at)));
    }
    table.insert(0, ("all statements".to_owned(), total));
    bench.report.table(Table {
        title: how.statements,
        columns: COLUMNS.to_vec(),
        rows: table,
    });
    Ok(())
}

/// The beginning of a statement.
fn brief(sql: &str) -> String {
    const MOST: usize = 60;
    match sql.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &sql[..end]),
        None => sql.to_owned(),
    }
}

fn table_of_writes(bench: &mut Bench, how: How, wal: &Wal, each: f64) {
    let total = wal.total();
    for (name, unit, value) in [
        ("index entries", "", total.entries),
        ("WAL", "B", total.bytes),
        ("pages written to", "", total.pages),
    ] {
        let name = format!("success, {}: {name} per machine", how.name);
        bench.report.row(Row::new(name, unit, vec![value / each]));
    }
    let rows = wal
        .relations
        .iter()
        .map(|(name, written)| (name.clone(), *written));
    let all = std::iter::once(("all relations".to_owned(), total)).chain(rows);
    bench.report.table(Table {
        title: how.writes,
        columns: wal::COLUMNS.to_vec(),
        rows: all
            .map(|(name, written)| (name, written.each(each)))
            .collect(),
    });
}

#[cfg(test)]
mod tests {
    use super::brief;

    #[test]
    fn a_long_statement_is_cut_between_characters() {
        assert_eq!(brief("COMMIT"), "COMMIT");
        let long = "µ".repeat(61);
        assert_eq!(brief(&long), format!("{}…", "µ".repeat(60)));
    }
}
