//! The demonstration: workers share a fleet on a real server, one of them is killed, and the database's
//! log is audited at the end. Its workers are `bmdb run`, as an operator starts them.

mod report;
pub(crate) mod silence;
mod snapshot;
mod takeover;

use crate::failure::{Done, Failure};
use crate::fixture::BACKOFF;
use crate::folder::Folder;
use crate::judge::audit_claims;
use crate::progress::Progress;
use crate::quiesce::reclaim_until;
use crate::server::{self, Network};
use crate::stop::Stop;
use crate::workers::{Workers, output};
use bmdb_core::fleet::Fleet;
use bmdb_core::{Bmdb, Config, SessionOptions};
use bmdb_model::{Fence, MachineId, Process, Provider};
use bmdb_testkit::{Profile, Server};
use report::Report;
use serde_json::Value;
use snapshot::{Observer, SlowMachine};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};
use takeover::Takeover;
use tokio::process::Command;

/// Watch workers share a fleet: claim, fail, back off, die, take over, finish.
///
/// Boots a PostgreSQL server, imports a fleet of machines, starts workers that run a command for each
/// machine, and kills one of them while it has a machine. At the end the database's log is audited: no
/// machine is claimed twice at once, no attempt starts inside a backoff, every interval is the
/// algorithm's, every attempt has exactly one end. Exits 0 only if all of that holds and every machine
/// that can be started was.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The fleet file. Default: the project's examples/fleet.json.
    #[arg(long, value_name = "FILE")]
    fleet: Option<PathBuf>,
    /// Show what happens when a whole fleet falls silent, instead: nobody listens, breaker, resume, 3 %.
    /// Exits 0 only if each number is that of the shipped limits.
    #[arg(long, conflicts_with_all = ["fleet", "seconds", "database_url", "keep"])]
    pub(crate) silence: bool,
    /// Take only the first N machines of the file; with --silence a fleet of N machines, default 2000.
    #[arg(long, value_name = "N")]
    machines: Option<usize>,
    /// How many workers to start; one of them is killed.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=64))]
    workers: u16,
    /// Stop after this many seconds, done or not.
    #[arg(long, value_name = "N", default_value_t = 55, value_parser = clap::value_parser!(u64).range(5..))]
    seconds: u64,
    /// Use this database instead of booting a server; it is migrated, and must not have the fleet's
    /// machines yet.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    #[command(flatten)]
    network: Network,
    /// Keep the booted server running at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Print one line of JSON on standard output at the end, and everything else on standard error.
    #[arg(long)]
    json: bool,
}

/// Reads the fleet that is asked for.
pub(crate) fn prepare(args: &Args) -> Done<Fleet> {
    let default = || project().join("examples/fleet.json");
    let file = args.fleet.clone().unwrap_or_else(default);
    let wrong = |problem: String| Failure::Usage(format!("{}: {problem}", file.display()));
    let text = fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
    let fleet = Fleet::parse(&text).map_err(|error| wrong(error.to_string()))?;
    let machines = fleet.machines().len();
    match args.machines {
        Some(count) if count > machines => Err(wrong(format!(
            "--machines {count}, but it has only {machines}"
        ))),
        Some(count) => Ok(fleet.first(count)),
        None => Ok(fleet),
    }
}

/// The project's folder, in which the workers run.
fn project() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_owned()
}

/// The command line, which cargo builds into the same folder as this program.
fn command_line() -> Done<PathBuf> {
    let program = env::current_exe()?.with_file_name("bmdb");
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::step(format!(
        "{} does not exist: run `cargo xtask demo`, or build it with `cargo build --package bmdb-cli`",
        program.display()
    )))
}

pub(crate) async fn demo(args: &Args, fleet: &Fleet) -> Done {
    eprintln!(
        "demo: {} workers start agents on {} machines, one worker is killed; usually 25 to 40 s, at \
         most about {} s",
        args.workers,
        fleet.machines().len(),
        args.seconds + 15
    );
    let program = command_line()?;
    let folder = Folder::new()?;
    let stop = Stop::on_interrupt(folder.path().to_owned());
    let (url, server) = match &args.database_url {
        Some(url) => (url.clone(), None),
        None => {
            server::provide(args.network)?;
            let server = Server::start(Profile::Durable)?;
            (server.url().to_owned(), Some(server))
        }
    };
    eprintln!("database: {url}");
    import(fleet, &url).await?;
    let done = demonstrate(args, &program, fleet, &url, &folder, &stop).await;
    if args.keep && server.is_some() && !stop.is_requested() {
        eprintln!("the server stays until Ctrl-C: psql '{url}'");
        tokio::signal::ctrl_c().await?;
    }
    done
}

async fn import(fleet: &Fleet, url: &str) -> Done {
    let config = Config::new(url).component("demo").runtime_info("import");
    let bmdb = Bmdb::connect(config).await?;
    let applied = bmdb.migrate().await?;
    eprintln!("migrated: {} applied", applied.len());
    let session = bmdb.start_session(SessionOptions::default()).await?;
    let imported = session
        .transact(async |tx| tx.import_fleet(fleet).await.map(drop))
        .await;
    imported.map_err(|error| Failure::step(format!("importing the fleet: {error}")))?;
    eprintln!("imported: {} machines", fleet.machines().len());
    Ok(session.close().await?)
}

async fn demonstrate(
    args: &Args,
    program: &Path,
    fleet: &Fleet,
    url: &str,
    folder: &Folder,
    stop: &Stop,
) -> Done {
    let mut observer = Observer::connect(url).await?;
    let launch = launch(program, fleet, url);
    let mut workers = Workers::start(folder.path(), usize::from(args.workers), launch)?;
    let pids: Vec<String> = (0..workers.count())
        .map(|place| workers.pid(place).to_string())
        .collect();
    eprintln!("workers: pid {}", pids.join(", "));
    let progress = Progress::new(Duration::from_secs(1));
    let takeover = watch(args, &progress, &mut observer, &mut workers, stop).await;
    progress.end();
    workers.drain().await?;
    let takeover = takeover?;
    check_complaints(&workers)?;
    let limit = Duration::from_secs(10);
    reclaim_until(url, "NOT EXISTS (SELECT FROM work)", limit).await?;
    let report = Report {
        audit: audit_claims(url, claims(folder.path(), workers.started())?).await?,
        interrupted: stop.is_requested(),
        last: observer.snapshot().await?,
        takeover,
        elapsed: progress.elapsed(),
    };
    report.print(args.json);
    if report.is_ok() {
        return Ok(());
    }
    Err(Failure::Found)
}

/// A worker is `bmdb run` with a command that pretends to start an agent.
fn launch(
    program: &Path,
    fleet: &Fleet,
    url: &str,
) -> Box<dyn Fn(u32, usize) -> Command + Send + Sync> {
    let (program, url) = (program.to_owned(), url.to_owned());
    let machines = fleet.machines().iter();
    let mut providers: Vec<Provider> = machines.map(|m| m.provided.provider.clone()).collect();
    providers.sort();
    providers.dedup();
    Box::new(move |_number, _place| {
        let mut command = Command::new(&program);
        command
            .env("BMDB_DATABASE_URL", &url)
            .current_dir(project())
            .args(["run", "--json", "--history", "full"])
            .args(["--process", Process::SHEPHERD_AGENT_START.as_str()])
            .args(["--exec", "exec examples/start-agent.sh"])
            .arg("--set-agent-started-from-stdout")
            .args(["--backoff", &BACKOFF.to_string()])
            .args(["--parallelism", "4", "--interval", "2s"])
            .args(["--drain-timeout", "10s"]);
        for provider in &providers {
            command.args(["--provider", provider.as_str()]);
        }
        command
    })
}

/// A worker that ended by itself ends the demonstration.
fn check_complaints(workers: &Workers) -> Done {
    match workers.complaints.first() {
        Some(complaint) => Err(Failure::step(complaint)),
        None => Ok(()),
    }
}

/// Shows the progress, kills the worker of a slow machine, and returns when only machines that will
/// never start are left.
async fn watch(
    args: &Args,
    progress: &Progress,
    observer: &mut Observer,
    workers: &mut Workers,
    stop: &Stop,
) -> Done<Takeover> {
    let mut seen = Takeover {
        complete: false,
        killed: None,
        taken_over: false,
    };
    while progress.elapsed() < Duration::from_secs(args.seconds) && !stop.is_requested() {
        let now = observer.snapshot().await?;
        progress.show(&now.to_string());
        workers.replace_dead().await?;
        check_complaints(workers)?;
        match &seen.killed {
            None => {
                if let Some(slow) = observer.slow_machine().await? {
                    kill(workers, &slow).await?;
                    progress.say(&format!(
                        "killed worker {} (SIGKILL), which had claimed machine {} under fence {}: its \
                         lease runs out within 2 s, then the machine rests for the reclaim delay of 15 s",
                        slow.worker_pid, slow.machine, slow.fence
                    ));
                    seen.killed = Some(slow);
                }
            }
            Some(slow) if !seen.taken_over => {
                if let Some((worker, seconds)) = observer.taken_over(slow).await? {
                    progress.say(&format!(
                        "machine {} was taken over by the worker of {worker}, {seconds:.1} s after the \
                         kill",
                        slow.machine
                    ));
                    seen.taken_over = true;
                }
            }
            Some(_) => {}
        }
        let awaits_takeover = seen.killed.is_some() && !seen.taken_over;
        if now.claimed == 0 && now.promising == 0 && !awaits_takeover {
            seen.complete = true;
            break;
        }
        stop.sleep(Duration::from_millis(100)).await;
    }
    Ok(seen)
}

async fn kill(workers: &mut Workers, slow: &SlowMachine) -> Done {
    let pid = slow.worker_pid;
    match workers.place_of(pid) {
        Some(place) => workers.remove(place).await,
        None => Err(Failure::step(format!("no worker has pid {pid}"))),
    }
}

/// The claims that the workers printed.
fn claims(folder: &Path, workers: u32) -> Done<Vec<(MachineId, Fence)>> {
    let mut claims = Vec::new();
    for number in 0..workers {
        let text = fs::read_to_string(output(folder, number))?;
        claims.extend(text.lines().filter_map(claim));
    }
    Ok(claims)
}

fn claim(line: &str) -> Option<(MachineId, Fence)> {
    let event: Value = serde_json::from_str(line).ok()?;
    (event["event"] == "started").then_some(())?;
    let fence = Fence::new(event["fence"].as_i64()?);
    Some((event["machine"].as_str()?.parse().ok()?, fence))
}
