//! `cargo xtask bench heartbeats`: measures what the agents' heartbeats of a fleet cost the server.

use super::cpu;
use super::report::{Report, Row, Target};
use bmdb_core::{Bmdb, Config, Session, SessionOptions};
use bmdb_dev::block_on;
use bmdb_dev::server::{Network, provide};
use bmdb_model::{AgentHeartbeat, MachineId};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Lookup, Places, Profile, Server, TestDb};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One million machines, once a minute each.
const NEEDED_PER_SECOND: f64 = 1e6 / 60.0;

/// In random order, as heartbeats arrive.
const MACHINES: &str =
    "SELECT machine_id FROM machine_agent_heartbeat ORDER BY md5(machine_id::text)";

const WAL: &str = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')";

const UPDATES: &str = "SELECT n_tup_upd || ' ' || n_tup_hot_upd FROM pg_stat_user_tables
    WHERE relname = 'machine_agent_heartbeat'";

/// Measure the heartbeats of agents, sent in batches over one connection.
///
/// The server has PostgreSQL's default settings and its data on disk. In each round every machine
/// beats once, in batches of random machines. The first round follows a checkpoint, so its WAL has an
/// image of every page; it is shown separately. CPU time includes all processes of the server. The
/// cost of a million machines is computed, not measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of machines.
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    machines: u32,
    /// Machines per statement.
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Measured rounds after the first.
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Print one line of JSON on standard output at the end, and everything else on standard error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: Network,
}

impl Args {
    /// Shorter, as a part of a complete run.
    pub(super) fn brief(quick: bool) -> Self {
        Self {
            machines: if quick { 10_000 } else { 100_000 },
            batch: 1000,
            rounds: if quick { 1 } else { 4 },
            json: false,
            network: Network::default(),
        }
    }
}

pub(crate) fn run(args: &Args) -> Done {
    provide(&Lookup::from_env(), args.network)?;
    let lookup = Lookup::search(&Places::from_env());
    let installation = lookup.installation().map_err(Failure::check)?;
    let server = Server::boot(&installation, Profile::Durable).map_err(Failure::check)?;
    let on = format!(
        "{installation}, {} machines in batches of {}",
        args.machines, args.batch
    );
    let mut report = Report::new("heartbeats", on);
    let server = Arc::new(server);
    let done = block_on(async { measure(args, &server, &mut report).await });
    report.print(args.json);
    done
}

/// The cost of one round.
struct Round {
    seconds: f64,
    wal_bytes: f64,
    cpu_seconds: Result<f64, String>,
}

/// Measures on a server without other activity.
pub(super) async fn measure(args: &Args, server: &Arc<Server>, report: &mut Report) -> Done {
    eprintln!("heartbeats: {} rounds", args.rounds + 1);
    let db = TestDb::on(server).await.map_err(Failure::check)?;
    let machines = fleet(&db, args.machines).await?;
    let config = Config::new(db.url()).component("bench");
    let bmdb = Bmdb::connect(config).await.map_err(Failure::check)?;
    let session = bmdb.start_session(SessionOptions::default());
    let session = session.await.map_err(Failure::check)?;
    // Warm up: prepare the statement.
    beat(&session, &machines[..1]).await?;
    db.run_sql("CHECKPOINT").await.map_err(Failure::check)?;

    let first = round(args, &db, server, &session, &machines).await?;
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        rounds.push(round(args, &db, server, &session, &machines).await?);
    }
    session.close().await.map_err(Failure::check)?;
    drop(bmdb);

    let beats = f64::from(args.machines);
    let each = |of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
    let per_second = each(|round| 1.0 / round.seconds);
    report.row(Row::new(
        "heartbeats over one connection",
        "/s",
        per_second.into_iter().map(|rate| rate * beats).collect(),
    ));
    let per_beat = |bytes: f64| bytes / beats;
    let wal = each(|round| round.wal_bytes).into_iter().map(per_beat);
    report.row(Row::new("WAL per heartbeat", "B", wal.collect()));
    report.row(Row::new(
        "  right after a checkpoint",
        "B",
        vec![per_beat(first.wal_bytes)],
    ));
    let expected = u64::from(args.machines) * (u64::from(args.rounds) + 1) + 1;
    match hot_share(&db, expected).await? {
        Some(share) => {
            let row = Row::new("updates that were HOT", "%", vec![share]);
            report.row(row.target(Target::MedianAtLeast(99.9)));
        }
        None => report.not_measured("updates that were HOT", "the statistics are late"),
    }
    let cpu: Result<Vec<f64>, String> = rounds.into_iter().map(|round| round.cpu_seconds).collect();
    match cpu {
        Ok(seconds) => report_cpu(report, seconds.into_iter().map(|s| s / beats).collect()),
        Err(why) => report.not_measured("CPU time per heartbeat", why),
    }
    Ok(())
}

fn report_cpu(report: &mut Report, per_beat: Vec<f64>) {
    let cores = per_beat.iter().map(|s| s * NEEDED_PER_SECOND).collect();
    let microseconds = per_beat.iter().map(|s| s * 1e6).collect();
    report.row(Row::new("CPU time per heartbeat", "µs", microseconds));
    let row = Row::new(
        "cores for 1 M machines once a minute (extrapolated)",
        "",
        cores,
    );
    report.row(row.target(Target::MedianAtMost(1.0)));
}

/// Fills the database with machines that have a heartbeat: later heartbeats read nothing else.
async fn fleet(db: &TestDb, machines: u32) -> Result<Vec<MachineId>, Failure> {
    db.run_sql(&format!(
        "INSERT INTO machines (machine_id) SELECT gen_random_uuid() FROM generate_series(1, {machines});
         INSERT INTO machine_agent_heartbeat SELECT machine_id, now() FROM machines;"
    ))
    .await
    .map_err(Failure::check)?;
    db.run_sql("VACUUM ANALYZE machine_agent_heartbeat")
        .await
        .map_err(Failure::check)?;
    let ids = db.rows(MACHINES).await.map_err(Failure::check)?;
    ids.iter()
        .map(|id| id.parse().map_err(Failure::check))
        .collect()
}

async fn round(
    args: &Args,
    db: &TestDb,
    server: &Server,
    session: &Session,
    machines: &[MachineId],
) -> Result<Round, Failure> {
    let (wal, cpu) = (number(db, WAL).await?, cpu::seconds(server));
    let began = Instant::now();
    for batch in machines.chunks(args.batch.into()) {
        beat(session, batch).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_seconds = cpu.and_then(|before| Ok(cpu::seconds(server)? - before));
    Ok(Round {
        seconds,
        wal_bytes: number(db, WAL).await? - wal,
        cpu_seconds,
    })
}

async fn beat(session: &Session, machines: &[MachineId]) -> Done {
    let batch: Vec<AgentHeartbeat> = machines.iter().map(|machine| (*machine, None)).collect();
    match session.heartbeat_agents(&batch).await {
        Ok(unknown) if unknown.is_empty() => Ok(()),
        Ok(unknown) => Err(Failure::check(format!("unknown machines: {unknown:?}"))),
        Err(error) => Err(Failure::check(error)),
    }
}

/// The share of HOT updates in percent, once the server has counted all updates.
async fn hot_share(db: &TestDb, expected: u64) -> Result<Option<f64>, Failure> {
    for _ in 0..150 {
        let counted = db.rows(UPDATES).await.map_err(Failure::check)?;
        let counted = counted.first().and_then(|row| row.split_once(' '));
        if let Some((all, hot)) = counted
            && all.parse().is_ok_and(|all: u64| all == expected)
            && let (Ok(all), Ok(hot)) = (all.parse::<f64>(), hot.parse::<f64>())
        {
            return Ok(Some(100.0 * hot / all));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(None)
}

async fn number(db: &TestDb, sql: &str) -> Result<f64, Failure> {
    let rows = db.rows(sql).await.map_err(Failure::check)?;
    let row = rows.first().ok_or_else(|| Failure::check("no row"))?;
    row.parse().map_err(Failure::check)
}
