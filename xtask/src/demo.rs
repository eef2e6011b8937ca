//! `cargo xtask demo`: worker processes share a fleet on a real server, one of them is killed, and
//! the log is audited at the end.

mod progress;
mod report;
mod workers;

use crate::server::{self, Network};
use crate::shell::{Done, Failure, block_on, root};
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_core::fleet::Fleet;
use bmdb_core::{Bmdb, Config, SessionOptions};
use bmdb_model::Provider;
use bmdb_testkit::Profile;
use progress::{Progress, Snapshot};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use workers::Workers;

/// The policy of the demonstration: 1, 2, 4, 5, 5, … seconds.
const BACKOFF: Backoff = match (Seconds::new(1), Seconds::new(5)) {
    (Some(initial), Some(maximum)) => Backoff::exponential(initial, maximum, Factor::from_int(2)),
    _ => Backoff::fixed(Seconds::MAX),
};

/// After this many failures in a row a machine has shown its intervals: 1, 2, 4, 5, 5.
const FAILURES_SHOWN: i64 = 5;

/// Watch workers share a fleet: claim, fail, back off, die, take over, finish.
///
/// Boots a PostgreSQL server, imports a fleet of machines, starts worker processes that run a
/// command for each machine, and kills one of them while it holds a machine. At the end the
/// database's log is audited: no two holders of a machine at once, no start inside a backoff, every
/// interval as the algorithm has it, exactly one end for every attempt. Exits 0 only if all of that
/// holds and every machine that can be started was.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The fleet file. Default: the project's examples/fleet.json.
    #[arg(long, value_name = "FILE")]
    fleet: Option<PathBuf>,
    /// Take only this many machines of it, from the start.
    #[arg(long, value_name = "N")]
    machines: Option<usize>,
    /// How many worker processes to start; one of them is killed.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=64))]
    workers: u16,
    /// Stop after this many seconds, done or not.
    #[arg(long, value_name = "N", default_value_t = 55, value_parser = clap::value_parser!(u64).range(5..))]
    seconds: u64,
    /// Use this database instead of booting a server; it is migrated and must not know the
    /// fleet's machines yet.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    #[command(flatten)]
    network: Network,
    /// Leave the booted server running at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Print one line of JSON on standard output at the end; everything else goes to standard
    /// error.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let file = args
        .fleet
        .clone()
        .unwrap_or_else(|| root().join("examples/fleet.json"));
    let fleet = read_fleet(&file)?;
    let fleet = match args.machines {
        Some(count) if count > fleet.machines().len() => {
            return Err(Failure::usage(format!(
                "--machines {count}: {} has only {}",
                file.display(),
                fleet.machines().len()
            )));
        }
        Some(count) => fleet.first(count),
        None => fleet,
    };
    let server = match &args.database_url {
        Some(_) => None,
        None => Some(server::start(Profile::Durable, args.network)?),
    };
    let url = match (&args.database_url, &server) {
        (Some(url), _) => url.clone(),
        (None, Some(server)) => server.url().to_owned(),
        (None, None) => return Err(Failure::check("no database")),
    };
    eprintln!("database: {url}");
    let worker = workers::build()?;
    block_on(async {
        let done = demonstrate(args, &worker, &fleet, &url).await;
        if args.keep && server.is_some() {
            eprintln!("the server stays until Ctrl-C: psql '{url}'");
            tokio::signal::ctrl_c().await.map_err(Failure::check)?;
        }
        done
    })
}

fn read_fleet(path: &Path) -> Result<Fleet, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    Fleet::parse(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

async fn demonstrate(args: &Args, worker: &Path, fleet: &Fleet, url: &str) -> Done {
    import(fleet, url).await?;
    let mut providers: Vec<&Provider> = fleet
        .machines()
        .iter()
        .map(|machine| &machine.provided.provider)
        .collect();
    providers.sort();
    providers.dedup();

    let began = Instant::now();
    let mut progress = Progress::connect(url).await?;
    let mut workers = Workers::start(worker, args.workers, url, &providers)?;
    let watched = watch(args, began, &mut progress, &mut workers).await;
    let claims = workers.drain().await?;
    progress.end();
    let watched = watched?;
    free_what_the_killed_worker_held(url).await?;

    let last = progress.snapshot().await?;
    let report = report::Report::new(url, &claims, &last, &watched, began.elapsed()).await?;
    report.print(args.json);
    if report.is_ok() {
        Ok(())
    } else {
        Err(Failure::Command(1))
    }
}

async fn import(fleet: &Fleet, url: &str) -> Done {
    let config = Config::new(url).component("demo").runtime_info("import");
    let bmdb = Bmdb::connect(config).await.map_err(Failure::check)?;
    let applied = bmdb.migrate().await.map_err(Failure::check)?;
    eprintln!("migrated: {} applied", applied.len());
    let session = bmdb
        .start_session(SessionOptions::default())
        .await
        .map_err(Failure::check)?;
    let imported = session
        .transact(async |tx| tx.import_fleet(fleet).await.map(drop))
        .await;
    imported.map_err(|error| Failure::check(format!("importing the fleet: {error}")))?;
    eprintln!("imported: {} machines", fleet.machines().len());
    session.close().await.map_err(Failure::check)
}

/// What happened while the workers ran.
pub(crate) struct Watched {
    /// Whether everything that can be done was done in time.
    pub(crate) complete: bool,
    /// The machine whose worker was killed.
    pub(crate) killed: Option<progress::SlowMachine>,
    /// Who took that machine over.
    pub(crate) taken_over_by: Option<String>,
    /// Claims per second while there were machines to be started.
    pub(crate) claims_per_second: f64,
}

/// Shows the progress, kills a worker that holds a slow machine, and returns when all that is left
/// are machines that will never start.
async fn watch(
    args: &Args,
    began: Instant,
    progress: &mut Progress,
    workers: &mut Workers,
) -> Result<Watched, Failure> {
    let limit = Duration::from_secs(args.seconds);
    let mut watched = Watched {
        complete: false,
        killed: None,
        taken_over_by: None,
        claims_per_second: 0.0,
    };
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    while began.elapsed() < limit {
        let now: Snapshot = progress.snapshot().await?;
        progress.show(&now, began.elapsed());
        workers.check()?;
        watched.claims_per_second = now.best_rate;
        match &watched.killed {
            None => {
                if let Some(slow) = progress.slow_machine().await? {
                    workers.kill(slow.worker_pid).await?;
                    progress.say(&format!(
                        "killed worker {} (SIGKILL), which held machine {} under fence {}: its lease \
                         runs out within 2 s, then the machine rests for the loss delay of 15 s",
                        slow.worker_pid, slow.machine, slow.fence
                    ));
                    watched.killed = Some(slow);
                }
            }
            Some(slow) if watched.taken_over_by.is_none() => {
                if let Some((worker, seconds)) = progress.taken_over(slow).await? {
                    progress.say(&format!(
                        "machine {} was taken over by the worker of {worker}, {seconds:.1} s after the kill",
                        slow.machine
                    ));
                    watched.taken_over_by = Some(worker);
                }
            }
            Some(_) => {}
        }
        let takeover_is_due = watched.killed.is_some() && watched.taken_over_by.is_none();
        if now.held == 0 && now.promising == 0 && !takeover_is_due {
            watched.complete = true;
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
            _ = &mut interrupted => {
                progress.say("interrupted: draining the workers");
                break;
            }
        }
    }
    Ok(watched)
}

/// The janitors of the workers have done it if they ran long enough; if not, this does.
async fn free_what_the_killed_worker_held(url: &str) -> Done {
    let bmdb = Bmdb::connect(Config::new(url))
        .await
        .map_err(Failure::check)?;
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        bmdb.reclaim_expired().await.map_err(Failure::check)?;
        if progress::nothing_is_held(url).await? || Instant::now() > give_up {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
