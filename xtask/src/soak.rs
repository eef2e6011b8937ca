//! `cargo xtask soak`: worker processes under every fault that can be produced, and a checker that
//! shares no code with them.

mod check;
mod clock;
mod disk;
mod environment;
mod events;
mod fault;
mod fixture;
mod folder;
mod invariants;
mod memory;
mod progress;
mod quiesce;
mod report;
mod rng;
mod schedule;
mod servers;
mod stop;
mod workers;

use crate::server::{self, Network};
use crate::shell::{Done, Failure, block_on};
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_testkit::{Lookup, Proxy, TestDb};
use check::Facts;
use clock::Clock;
use disk::{Disk, Found};
use environment::Stage;
use events::{Chronicle, Happened, now};
use fault::{Choice, Kind, Track, chosen};
use folder::Folder;
use progress::Progress;
use quiesce::{come_to_rest, free_what_has_expired};
use report::Report;
use schedule::{Injection, latest, schedule};
use servers::Servers;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;
use stop::Stop;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};
use workers::Workers;

/// What the workers' failures lead to: 1, 2, 4, 5, 5, … seconds.
const BACKOFF: Backoff = match (Seconds::new(1), Seconds::new(5)) {
    (Some(initial), Some(maximum)) => Backoff::exponential(initial, maximum, Factor::from_int(2)),
    _ => Backoff::fixed(Seconds::MAX),
};

/// Let everything go wrong, and see whether anything is lost or done twice.
///
/// Boots a durable PostgreSQL server, with a synchronous standby, on a small volume of its own, starts
/// worker processes that claim and end work through proxies, and lets faults happen that a seed
/// draws: processes and servers are killed or sleep, networks vanish, disks are full. Afterwards a
/// checker reads the database and the workers' own logs. Exits 0 only if nothing is wrong and every
/// error of a worker is accounted for by a fault.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how many seconds faults happen; coming to rest and checking take some more. At most two
    /// hours, for each second takes some memory. Where the machine is slow, a short run takes up to half
    /// as long again, so that each fault comes.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(3..=7_200))]
    seconds: u64,
    /// How many worker processes there are at any time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=16))]
    workers: u16,
    /// Which faults happen, separated by commas.
    #[arg(
        long,
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        default_value = "all"
    )]
    faults: Vec<Choice>,
    /// What the faults and the workers' choices are drawn from. Default: any; it is printed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    network: Network,
    /// Print one line of JSON on standard output at the end; everything else goes to standard
    /// error.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let mut kinds = chosen(&args.faults);
    let mut impossible = Vec::new();
    let disk = if kinds.contains(&Kind::DiskFull) {
        match disk::find(room(args))? {
            Found::Here(disk) => Some(disk),
            Found::Elsewhere(command) => match disk::become_command(*command)? {},
            Found::Impossible(why) => {
                impossible.push((Kind::DiskFull, why));
                None
            }
        }
    } else {
        None
    };
    server::provide(&Lookup::from_env(), args.network)?;
    let program = workers::build()?;
    let folder = Folder::new()?;
    let last = usize::from(args.workers) - 1;
    let clock = Clock::find(folder.path(), last).filter(|_| kinds.contains(&Kind::Clock));
    match &clock {
        Some(clock) => clock.set(0)?,
        None if kinds.contains(&Kind::Clock) => {
            let why = "libfaketime is not installed (package faketime)";
            impossible.push((Kind::Clock, why.to_owned()));
        }
        None => {}
    }
    if kinds.contains(&Kind::KillStandby) && !cfg!(target_os = "linux") {
        let why = "only Linux tells which process is a server's supervisor";
        impossible.push((Kind::KillStandby, why.to_owned()));
    }
    for (kind, why) in &impossible {
        eprintln!("{kind}: NOT POSSIBLE HERE: {why}");
        kinds.retain(|possible| possible != kind);
    }
    let soak = Soak {
        args,
        seed: args.seed.unwrap_or_else(any_seed),
        kinds,
        impossible,
        program,
    };
    block_on(soak.run(folder, disk, clock))
}

/// The size of the small volume: what a database takes, what is kept of its log, and what a fleet
/// writes meanwhile.
fn room(args: &Args) -> u64 {
    (512 << 20) + args.seconds * (256 << 10)
}

fn any_seed() -> u64 {
    // Short enough to be typed.
    RandomState::new().hash_one(std::process::id()) >> 32
}

/// A run, as it was asked for.
struct Soak<'a> {
    args: &'a Args,
    seed: u64,
    kinds: Vec<Kind>,
    impossible: Vec<(Kind, String)>,
    program: PathBuf,
}

impl Soak<'_> {
    async fn run(&self, folder: Folder, disk: Option<Disk>, clock: Option<Clock>) -> Done {
        let (end, stop) = Stop::new();
        let interrupts = tokio::spawn(heed_interrupts(end, folder.path().to_owned()));
        let stage = self.set_the_stage(folder.path(), disk, clock).await?;
        let (chronicle, progress) = (Chronicle::default(), Progress::new());
        let span = self.befall(&stage, &stop, &chronicle, &progress).await?;
        let stuck = come_to_rest(&stage).await?;
        progress.end();
        let mut workers = stage.workers.lock().await;
        workers.drain().await?;
        free_what_has_expired(stage.db.url()).await?;
        let journals = workers::read_journals(folder.path())?;
        let facts = Facts::of(&journals);
        let verdict = check::check(stage.db.url(), &facts, fixture::policy()).await?;
        let mut complaints = workers.complaints.clone();
        complaints.extend(stuck);
        let report = Report {
            args: self.args,
            seed: self.seed,
            span,
            verdict: &verdict,
            facts: &facts,
            happened: &chronicle.all(),
            workers: workers.started(),
            memory: &workers.memory,
            complaints: &complaints,
            impossible: &self.impossible,
            interrupted: stop.is_over(),
            journals: folder.kept(),
        };
        report.print();
        interrupts.abort();
        if report.findings().is_empty() {
            return Ok(());
        }
        drop(workers);
        folder.keep()?;
        Err(Failure::Command(1))
    }

    /// Lets all faults happen, and undoes what is left of them; returns when they began, and when they
    /// were over.
    async fn befall(
        &self,
        stage: &Stage,
        stop: &Stop,
        chronicle: &Chronicle,
        progress: &Progress,
    ) -> Result<(i64, i64), Failure> {
        eprintln!("seed {}; faults: {}", self.seed, self.names());
        let time = Duration::from_secs(self.args.seconds);
        let (began, beginning) = (Instant::now(), now());
        let tracks = Track::ALL.map(|track| schedule(self.seed, track, &self.kinds, time));
        let play = async |schedule: &[Injection]| {
            play(
                schedule,
                began,
                latest(time),
                stage,
                stop,
                chronicle,
                progress,
            )
            .await
        };
        let (first, second, watched) = tokio::join!(
            play(&tracks[0]),
            play(&tracks[1]),
            show_and_measure(stage, began, time, stop, progress),
        );
        let over = now();
        first.and(second).and(watched)?;
        stage.heal().await?;
        progress.say(began.elapsed(), "the faults are over: coming to rest");
        Ok((beginning, over))
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
        if names.is_empty() {
            return "none".to_owned();
        }
        names.join(", ")
    }

    async fn set_the_stage(
        &self,
        journals: &Path,
        disk: Option<Disk>,
        clock: Option<Clock>,
    ) -> Result<Stage, Failure> {
        let installation = Lookup::from_env().installation().map_err(Failure::check)?;
        let mut servers = Servers::boot(&installation, disk.as_ref())?;
        let db = TestDb::on(&servers.primary).await.map_err(Failure::check)?;
        let connections = 20 + 20 * usize::from(self.args.workers);
        let url = fixture::make(&db, connections.min(280)).await?;
        let standby = self.kinds.contains(&Kind::KillStandby);
        servers.set_up(standby).await?;
        let mut proxies = Vec::new();
        for _ in 0..self.args.workers {
            proxies.push(Proxy::tcp(&url).await.map_err(Failure::check)?);
        }
        let urls = proxies.iter().map(|proxy| proxy.url().to_owned()).collect();
        let workers = Workers::start(&self.program, journals, self.seed, clock, urls)?;
        Ok(Stage {
            workers: Mutex::new(workers),
            proxies,
            db,
            url,
            servers,
            disk,
        })
    }
}

/// The first Ctrl-C ends the faults, the next one this process, and with it all others.
async fn heed_interrupts(end: watch::Sender<bool>, journals: PathBuf) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    eprintln!("\ninterrupted: coming to rest; once more to give up");
    // Nobody waits where the run is over already.
    let _ = end.send(true);
    let _ = tokio::signal::ctrl_c().await;
    let _ = fs::remove_dir_all(journals);
    std::process::exit(1);
}

/// Lets the faults of one track happen, one after the other.
async fn play(
    schedule: &[Injection],
    began: Instant,
    limit: Duration,
    stage: &Stage,
    stop: &Stop,
    chronicle: &Chronicle,
    progress: &Progress,
) -> Done {
    // What takes longer than planned puts off what comes after it: between faults the fleet recovers.
    let mut late = Duration::ZERO;
    for injection in schedule {
        let at = began + injection.at + late;
        stop.sleep_until(at).await;
        if stop.is_over() || injection.at + late > limit {
            return Ok(());
        }
        let message = format!(
            "{} for {:.1} s",
            injection.kind,
            injection.length.as_secs_f64()
        );
        progress.say(began.elapsed(), &message);
        let felt = stage.inject(injection, stop).await?;
        let over = if felt {
            "over"
        } else {
            "over, and nobody has felt it"
        };
        progress.say(began.elapsed(), &format!("{} is {over}", injection.kind));
        chronicle.add(Happened {
            kind: injection.kind,
            over: now(),
            felt,
        });
        late += (at + injection.length).elapsed();
    }
    Ok(())
}

/// Shows the progress, measures the first worker and replaces those that end by themselves.
async fn show_and_measure(
    stage: &Stage,
    began: Instant,
    time: Duration,
    stop: &Stop,
    progress: &Progress,
) -> Done {
    while began.elapsed() < time && !stop.is_over() {
        stop.sleep(Duration::from_secs(1)).await;
        let mut workers = stage.workers.lock().await;
        workers.replace_dead().await?;
        workers.measure(began.elapsed());
        drop(workers);
        let counts = "SELECT last_value, (SELECT count(*) FROM work) FROM work_fence";
        let asked = timeout(Duration::from_secs(1), stage.db.rows(counts)).await;
        let message = match asked {
            Ok(Ok(rows)) => match rows.first().and_then(|row| row.split_once('|')) {
                Some((claims, held)) => format!("{claims} claims, {held} works held"),
                None => "nothing is claimed yet".to_owned(),
            },
            _ => "the database does not answer".to_owned(),
        };
        progress.show(began.elapsed(), &message);
    }
    Ok(())
}
