//! The soak: worker processes on a database of their own, under every fault that can be injected.

use crate::clock::Clock;
use crate::disk::{self, Disk, Found};
use crate::environment::{Environment, Launch, start_workers};
use crate::failure::{Done, Failure};
use crate::fault::{Choice, Kind, chosen};
use crate::fixture;
use crate::folder::Folder;
use crate::gateway::Gateway;
use crate::journal::{Journal, OPERATOR};
use crate::run::{Plan, random_seed, run};
use crate::schedule::Rhythm;
use crate::server::{self, Network};
use crate::servers::Servers;
use crate::stop::Stop;
use bmdb_testkit::{Lookup, Proxy, TestDb};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;
use tokio::sync::Mutex;

const MACHINES: usize = 240;

/// Run workers under every kind of fault, and check that nothing was lost or done twice.
///
/// Boots a durable PostgreSQL server, with a synchronous standby, on a small volume of its own; starts
/// workers that claim machines and end their work through proxies; and injects faults that are drawn
/// from a seed: processes and servers are killed or sleep, networks fail, disks fill up. Then a judge
/// reads the database and the workers' journals. Exits 0 only if nothing is wrong and every error of a
/// worker is explained by a fault.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how many seconds faults are injected; recovery and judging take some more. At most two hours,
    /// because each second takes some memory. On a slow machine, a short run takes up to half as long
    /// again, so that each fault comes.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(3..=7_200))]
    seconds: u64,
    /// How many workers run at any time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=16))]
    workers: u16,
    /// Which faults are injected, separated by commas.
    #[arg(
        long,
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        default_value = "all"
    )]
    faults: Vec<Choice>,
    /// Draw the faults and the workers' choices from this seed. Default: a random one, which is printed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    network: Network,
    /// Print one line of JSON on standard output at the end, and everything else on standard error.
    #[arg(long)]
    json: bool,
}

/// Returns `Err` when faults cannot be prepared; the process may be replaced by one with a small volume.
pub(crate) fn prepare(args: &Args) -> Done<Preparation> {
    if !disk::is_mounted() {
        eprintln!(
            "soak: {} workers under faults for {} s, then everything is judged; usually {} to {} s in all",
            args.workers,
            args.seconds,
            args.seconds + 10,
            args.seconds * 3 / 2 + 30,
        );
    }
    let mut kinds = chosen(&args.faults);
    let mut impossible = Vec::new();
    let mut disk = None;
    if kinds.contains(&Kind::DiskFull) {
        match disk::find(volume_bytes(args))? {
            Found::Here(found) => disk = Some(found),
            // This returns only if the process cannot be replaced.
            Found::Elsewhere(mut command) => return Err(command.exec().into()),
            Found::Impossible(reason) => impossible.push((Kind::DiskFull, reason)),
        }
    }
    server::provide(args.network)?;
    let folder = Folder::new()?;
    let mut clock = None;
    if kinds.contains(&Kind::Clock) {
        clock = Clock::find(folder.path(), usize::from(args.workers) - 1);
        match &clock {
            Some(clock) => clock.set(0)?,
            None => {
                let reason = "libfaketime is not installed (package faketime)";
                impossible.push((Kind::Clock, reason.to_owned()));
            }
        }
    }
    if kinds.contains(&Kind::KillStandby) && !cfg!(target_os = "linux") {
        let reason = "only Linux shows which process supervises a server";
        impossible.push((Kind::KillStandby, reason.to_owned()));
    }
    for (kind, reason) in &impossible {
        eprintln!("{kind}: NOT POSSIBLE HERE: {reason}");
        kinds.retain(|possible| possible != kind);
    }
    let seed = args.seed.unwrap_or_else(random_seed);
    let plan = Plan {
        seed,
        time: Duration::from_secs(args.seconds),
        kinds,
        impossible,
        rhythms: [Rhythm::Drawn; 3],
        expected: &[],
        replay: replay(args, seed),
    };
    Ok(Preparation {
        plan,
        folder,
        disk,
        clock,
    })
}

/// What a soak finds on this machine.
pub(crate) struct Preparation {
    plan: Plan,
    folder: Folder,
    disk: Option<Disk>,
    clock: Option<Clock>,
}

/// The size of the small volume: a database, the log that is kept, and what the workers write.
fn volume_bytes(args: &Args) -> u64 {
    (512 << 20) + args.seconds * (256 << 10)
}

fn replay(args: &Args, seed: u64) -> String {
    let Args {
        seconds, workers, ..
    } = args;
    let faults: Vec<&str> = args.faults.iter().map(|choice| choice.name()).collect();
    let faults = faults.join(",");
    format!(
        "cargo xtask soak --seconds {seconds} --workers {workers} --faults {faults} --seed {seed}"
    )
}

pub(crate) async fn soak(args: &Args, preparation: Preparation) -> Done {
    let Preparation {
        plan,
        folder,
        disk,
        clock,
    } = preparation;
    let stop = Stop::on_interrupt(folder.path().to_owned());
    let environment = set_up(args, &plan, folder.path(), disk, clock).await?;
    let report = run(&plan, &environment, &folder, &stop).await?;
    report.print(args.json);
    if report.findings().is_empty() {
        return Ok(());
    }
    drop(environment);
    folder.keep()?;
    Err(Failure::Found)
}

async fn set_up(
    args: &Args,
    plan: &Plan,
    folder: &Path,
    disk: Option<Disk>,
    clock: Option<Clock>,
) -> Done<Environment> {
    let installation = Lookup::from_env().installation()?;
    let mut servers = Servers::boot(&installation, disk.as_ref())?;
    let db = TestDb::on(&servers.primary).await?;
    fixture::make(&db, MACHINES).await?;
    let connections = 20 + 20 * usize::from(args.workers);
    let url = fixture::make_worker(&db, connections.min(280)).await?;
    servers
        .set_up(plan.kinds.contains(&Kind::KillStandby))
        .await?;
    let mut proxies = Vec::new();
    for _ in 0..args.workers {
        proxies.push(Proxy::tcp(&url).await?);
    }
    // Somebody listens to the agents only while the gateway does.
    db.run_sql("DELETE FROM agent_listening").await?;
    let gateway = Some(Gateway::start(db.admin_url().to_owned()));
    let launch = Launch {
        seed: plan.seed,
        urls: proxies.iter().map(|proxy| proxy.url().to_owned()).collect(),
        clock: clock.clone(),
        options: Vec::new(),
    };
    Ok(Environment {
        workers: Mutex::new(start_workers(folder, launch)?),
        proxies,
        db,
        url,
        servers: Some(servers),
        clock,
        disk,
        gateway,
        journal: Journal::create(&folder.join(OPERATOR))?,
    })
}
